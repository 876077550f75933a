"""How gunicorn runs Backchannel: gevent workers, a clean drain, and the services that live with the server.

gunicorn reads this file again at every HUP, so nothing is kept here; handles live in services.py.
"""

import gevent.monkey

gevent.monkey.patch_all()  # before anything imports sockets or a database driver

import gc
import os
import resource
import socket
import subprocess
import sys
import time

import gevent
from gunicorn import glogging

import logs
import services
from config import Config, ConfigError
from realtime import metrics_files

settings = Config.or_exit()
metrics_folder = settings.data_dir / "metrics"
logs.set_up(settings.LOG_FORMAT)

wsgi_app = "app:serve()"
bind = f"{settings.HOST}:{settings.PORT}"
worker_class = "gevent"
workers = settings.WORKERS
# Above the cap of streams, which is refused softly: at this one even health checks hang.
worker_connections = (settings.STREAMS_PER_WORKER or 100_000) + 1000
graceful_timeout = settings.DRAIN_SECONDS
timeout = 30  # seconds without the loop turning; a stream may live for ever
keepalive = 2  # seconds; a stopping worker waits for idle connections too
SUCCESSION = 20.0  # seconds that old workers stay at a HUP, if the new ones do not come sooner
LAST_WORDS = 1.0  # seconds for a leaving worker to note what became of its answers
PORT_WAIT = 3.0  # seconds: the workers of a master that was killed hold its port for up to one more
control_socket_disable = True  # one path per user: a second server would take it over
preload_app = False  # a database driver imported before the patch blocks the loop

# Seconds a busy loop keeps the interpreter from SQLite's threads, which ask for it at every statement: with the usual
# 0.005 they committed 16 times a second beside a loop under load, so 92 times (measured).
sys.setswitchinterval(0.0005)

# A stream is an open file, and the usual soft limit of 1,024 would be met before the cap of streams.
most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))


class Logger(glogging.Logger):
    """Gunicorn's own log, in our form, and without what a stranger's request says."""

    def setup(self, cfg):
        super().setup(cfg)
        for handler in list(self.error_log.handlers):
            handler.setFormatter(logs.formatter(settings.LOG_FORMAT))
            if cfg.errorlog == "-":
                self.error_log.removeHandler(handler)
        self.error_log.propagate = cfg.errorlog == "-"

    def warning(self, msg, *args, **kwargs):
        if msg.startswith("Invalid request from "):  # and then it quotes: a token in a header is a token in the log
            msg = ": ".join(msg.split(": ")[:2])
        super().warning(msg, *args, **kwargs)

    def exception(self, msg, *args, **kwargs):
        super().exception(msg, *(str(arg).partition("?")[0] for arg in args), **kwargs)


logger_class = Logger


def on_starting(server):
    """Start the broker, bring the database to its newest, start the demo agent."""
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.secret_key()
        refuse_used_ports(server)
        metrics_files.begin(metrics_folder)
    except ConfigError as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"DATA_DIR must be a folder that can be written, not {settings.DATA_DIR!r} ({error.strerror})")
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


def refuse_used_ports(server):
    """Before anything is started or announced: gunicorn itself looks last, five times. Raises ConfigError."""
    if server.LISTENERS or "GUNICORN_FD" in os.environ or "LISTEN_FDS" in os.environ:
        return  # the sockets are handed on
    until = time.monotonic() + PORT_WAIT
    for host, port in (address for address in server.cfg.address if isinstance(address, tuple)):
        while (trouble := trouble_with(host, port)) and time.monotonic() < until:
            time.sleep(0.1)
        if trouble:
            raise ConfigError(f"cannot listen on {host}:{port}: {trouble}; set HOST and PORT")


def trouble_with(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error.strerror or str(error)
    return None


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def when_ready(server):
    """Look after the services in every round of the master, of a second at most; let workers hand over at a HUP.

    No hook of gunicorn's is called that often, and of a supervisor's death gevent tells nobody.
    """
    look_after_workers = server.murder_workers

    def look_after_all():
        look_after_workers()
        for line in services.mend():
            server.log.warning("%s", line)

    server.murder_workers = look_after_all
    manage_workers = server.manage_workers

    def hand_over():
        """At a HUP the new workers come first: loading takes seconds, in which webhooks would wait."""
        until = time.monotonic() + SUCCESSION
        while len(server.WORKERS) > server.num_workers and time.monotonic() < until:
            if all(serves(worker) for worker in server.WORKERS.values()):
                break
            server.reap_workers()
            time.sleep(0.1)
        manage_workers()

    server.manage_workers = hand_over


def serves(worker):
    """Whether it has ever said that it lives: from then on its file has monotonic time, before that the time of day."""
    return worker.tmp.last_update() <= time.monotonic()


def pre_fork(server, worker):
    taken = {each.place for each in server.WORKERS.values()}
    worker.place = metrics_files.take_place(metrics_folder, taken)


def child_exit(server, worker):
    metrics_files.leave_place(metrics_folder, worker.place)


def post_worker_init(worker):
    # What is there now stays: let no collection look at it again. With 5,000 streams one took 100 ms, so 8 (measured).
    gc.collect()
    gc.freeze()
    gevent.spawn(drain, worker)


def drain(worker):
    """End the streams when the worker is told to leave, spread over the time it has: gunicorn alone would cut them."""
    while worker.alive:
        gevent.sleep(0.1)
    worker.wsgi.extensions["scribe"].drain()
    worker.wsgi.extensions["hub"].drain(max(0, settings.DRAIN_SECONDS - 1))  # the last second is for writing


def worker_exit(server, worker):
    """Let the answers that it writes itself be ended: gunicorn waits for requests, and knows nothing of these."""
    if getattr(worker, "wsgi", None):
        worker.wsgi.extensions["scribe"].drain()
        worker.wsgi.extensions["dispatcher"].join(LAST_WORDS)


def worker_int(worker):
    """Leave once: Ctrl-C is told to a worker twice, by the terminal and by the master, and the second exit prints."""
    if getattr(worker, "is_leaving", False):
        raise gevent.GreenletExit
    worker.is_leaving = True


def on_exit(server):
    services.stop()
