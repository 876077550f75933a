"""Patches the test process as gunicorn patches its workers; loaded by pyproject.toml before anything else."""

from gevent import monkey

monkey.patch_all()
