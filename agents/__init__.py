"""Asking agents: the outbox, the dispatcher that empties it, and the demo agent. Never imports Flask."""
