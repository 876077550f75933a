"""Measurements of a real server on this machine: `bin/bench`."""
