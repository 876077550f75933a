"""From a commit to every open page: bus, tails, hub, streams. Never imports Flask or SQLAlchemy."""
