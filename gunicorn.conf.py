"""How gunicorn runs Backchannel: gevent workers, a clean drain, and the services that live with the server.

gunicorn reads this file again at every HUP, so nothing is kept here; handles live in services.py.
"""

import gevent.monkey

gevent.monkey.patch_all()  # before anything imports sockets or a database driver

import logging
import os
import resource
import subprocess
import sys

import gevent

import services
from config import Config

settings = Config.from_env()

wsgi_app = "app:serve()"
bind = f"{settings.HOST}:{settings.PORT}"
worker_class = "gevent"
workers = settings.WORKERS
# Above the cap of streams, which is refused softly: at this one even health checks hang.
worker_connections = (settings.STREAMS_PER_WORKER or 100_000) + 1000
graceful_timeout = settings.DRAIN_SECONDS
timeout = 30  # seconds without the loop turning; a stream may live for ever
keepalive = 2  # seconds; a stopping worker waits for idle connections too
control_socket_disable = True  # one path per user: a second server would take it over
preload_app = False  # a database driver imported before the patch blocks the loop

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
for chatty in ("httpx2", "httpcore2", "alembic"):
    logging.getLogger(chatty).setLevel(logging.WARNING)


# A stream is an open file, and the usual soft limit of 1,024 would be met before the cap of streams.
most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))


def on_starting(server):
    """Start the broker, bring the database to its newest, start the demo agent."""
    if not settings.REDIS_URL:
        os.environ["REDIS_URL"] = services.start_broker(settings.data_dir)
    if settings.DEMO:
        address = f"127.0.0.1:{free_port()}"
        os.environ["DEMO_AGENT"] = address
        os.environ["AGENT_ALLOW"] = ",".join(filter(None, (settings.AGENT_ALLOW, address)))
    if subprocess.run([sys.executable, "prepare.py"]).returncode:
        services.stop()
        sys.exit(1)  # it has said why
    if settings.DEMO:
        services.start("demo", [sys.executable, "-m", "agents.demo"], settings.data_dir)


def free_port():
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def post_worker_init(worker):
    gevent.spawn(drain, worker)


def drain(worker):
    """End the streams when the worker is told to leave, spread over the time it has: gunicorn alone would cut them."""
    while worker.alive:
        gevent.sleep(0.1)
    worker.wsgi.extensions["hub"].drain(max(0, settings.DRAIN_SECONDS - 1))  # the last second is for writing


def on_exit(server):
    services.stop()
