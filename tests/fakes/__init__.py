"""Models and graphs that are none: HTTP servers that speak as the real ones do, each a process of its own."""
