"""The application: settings -> store -> hub -> sign-in -> doors, each beside its guard."""

from __future__ import annotations

import resource
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import gevent
import msgspec
from flask import Blueprint, Flask, Response
from flask.json.provider import JSONProvider
from gevent.threadpool import ThreadPool
from werkzeug.middleware.proxy_fix import ProxyFix

import logs
from agents import endings
from agents.dispatch import Dispatcher
from agents.scribe import Scribe
from blueprints import (
    access,
    assets,
    commands,
    errors,
    guards,
    health,
    messages,
    metrics,
    pages,
    runs,
    sessions,
    streams,
    threads,
    webhook,
)
from chat import accounts, drafts, log
from chat.limits import Limits
from chat.pruner import Pruner
from chat.store import Committed, Store
from chat.write_check import WriteCheck
from config import Config
from realtime import metrics as numbers
from realtime.bus import Bus
from realtime.census import Census
from realtime.hub import Hub

DOORS = (
    (pages.bp, guards.signed_in_or_sent_to_login),
    (sessions.bp, guards.same_site),
    (threads.bp, guards.signed_in),
    (messages.bp, guards.signed_in),
    (runs.bp, guards.signed_in),
    (streams.bp, guards.signed_in_by_turns),
    (webhook.bp, guards.everyone),  # asks for the agent's own credentials
    (assets.bp, guards.everyone),
    (health.bp, guards.everyone),
    (metrics.bp, guards.everyone),  # asks for its own token, or who it is
)

BODY = 256 * 1024  # bytes; the webhook has a limit of its own
SPARE_FILES = 200  # for requests, the database and the broker
HASHERS = 2  # a password hash takes 80 ms and 64 MiB: two at a time

CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types dompurify",
    )
)

HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def create_app(settings: Config | None = None) -> Flask:
    """Put the application together. Nothing runs in the background until `serve`."""
    settings = settings or Config.or_exit()
    app = Flask(__name__, static_folder=None)
    configure(app, settings)
    store = Store(settings.database_url, pool=settings.DATABASE_POOL)
    hub = make_hub(settings, store)
    scribe = Scribe(store, hub.bus.ring, settings.PAUSE_SECONDS)
    dispatcher = Dispatcher(store, scribe, settings)
    store.after_commit = partial(tell, hub, dispatcher, scribe)
    hub.bus.on_run = scribe.end
    app.extensions |= {"settings": settings, "store": store, "hub": hub, "dispatcher": dispatcher, "scribe": scribe}
    app.extensions |= {
        "pruner": Pruner(store, settings.RETENTION_DAYS),
        "passwords": ThreadPool(HASHERS),
        "assets_version": assets.version_of(assets.FOLDER),
        "refusals": count(1),
        "write_check": WriteCheck(store),
        "limits": Limits(settings.ANSWERS_PER_MINUTE, settings.TOKENS_PER_DAY),
    }
    access.register(app)
    guards.login_manager.init_app(app, add_context_processor=False)  # an error page must not ask the store
    errors.register(app)
    app.cli.add_command(commands.people)
    app.cli.add_command(commands.histories)
    for bp, guard in DOORS:
        open_door(app, bp, guard)
    app.after_request(add_headers)
    if settings.TRUSTED_PROXIES:
        proxies = settings.TRUSTED_PROXIES
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=proxies, x_proto=proxies, x_host=proxies)  # type: ignore[method-assign]
    return app


def serve() -> Flask:
    """The application as a worker runs it: with its hub, its dispatcher and its pruner."""
    logs.watch_greenlets()
    app = create_app()
    app.extensions["hub"].start()
    app.extensions["dispatcher"].start()
    app.extensions["scribe"].start()
    app.extensions["pruner"].start()
    gevent.spawn(numbers.watch_loop, looks(app.extensions["store"], app.extensions["hub"].bus))
    return app


def looks(store: Store, bus: Bus) -> list[numbers.Look]:
    """The numbers that others keep."""
    return [
        numbers.shows(numbers.STORE_IN_USE, lambda: store.in_use),
        numbers.follows(numbers.HINTS_PUBLISHED, lambda: bus.published),
        numbers.follows(numbers.HINTS_DROPPED, lambda: bus.dropped),
        numbers.follows(numbers.BROKER_RECONNECTS, lambda: bus.reconnects),
        numbers.follows(numbers.BROKER_PROBE_FAILURES, lambda: bus.probe_failures),
    ]


class Json(JSONProvider):
    """JSON as the streams write it: by msgspec, in the order in which a thing's fields are named."""

    def dumps(self, obj: Any, **_: Any) -> str:
        return msgspec.json.encode(obj).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        return msgspec.json.decode(s)


def configure(app: Flask, settings: Config) -> None:
    app.json = Json(app)
    app.config.update(
        SECRET_KEY=settings.secret_key(),
        MAX_CONTENT_LENGTH=BODY,
        PERMANENT_SESSION_LIFETIME=timedelta(days=settings.SESSION_DAYS),
        SESSION_REFRESH_EACH_REQUEST=False,  # a cookie lives as long as its row, however often it is shown
        SESSION_COOKIE_NAME="backchannel",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.public_url.startswith("https:"),
    )


def make_hub(settings: Config, store: Store) -> Hub:
    """Hand the hub the store as functions: it knows no SQL."""
    bus = Bus(settings.broker_url(), settings.BUS_PREFIX)
    return Hub(
        bus,
        Census(bus.commands, settings.BUS_PREFIX, settings.STREAMS_PER_USER),
        heads=lambda logs: store.peek(lambda s: log.heads(s, logs)),
        after=lambda name, seq, limit: store.read(lambda s: log.after(s, name, seq, limit)),
        admitted=lambda grants: store.peek(lambda s: accounts.admitted(s, grants)),
        partials=lambda threads: store.peek(lambda s: drafts.partials(s, threads)),
        most=most_streams(settings.STREAMS_PER_WORKER),
    )


def most_streams(wanted: int) -> int:
    """As many as wanted, but no more than there may be open files; 0: no limit."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return wanted
    return min(wanted or files, max(files - SPARE_FILES, 1))


def tell(hub: Hub, dispatcher: Dispatcher, scribe: Scribe, committed: Committed) -> None:
    """After a commit: ring, look whether there is a question to put, and let nobody write what has ended."""
    for name, epoch, event in committed:
        hub.bus.ring(name, epoch, event)
        if event.kind == "run":
            dispatcher.wake()
            if ended := endings.note(event):
                scribe.end(ended)
                hub.bus.end_run(ended)


def open_door(app: Flask, bp: Blueprint, guard: object) -> None:
    app.register_blueprint(bp)
    app.before_request_funcs.setdefault(bp.name, []).append(guard)  # type: ignore[arg-type]


def add_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    return response
