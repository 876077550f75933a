"""The domain: who talks to whom, what was said, what became of it. Never imports Flask."""
