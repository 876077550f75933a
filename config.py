"""Every setting: its name in the environment, its default and unit, and what it does.

The settings table of the README is held to this file by a test.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, get_type_hints
from urllib.parse import urlsplit

BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

SECRETS = ("SECRET_KEY", "METRICS_TOKEN")  # whose values are not repeated, even if they are none

Check = Callable[[Any], bool]


class ConfigError(ValueError):
    """A setting that cannot be used; the message says which one and what it should look like."""


def setting(default: Any, doc: str, must_be: str = "", check: Check = lambda value: True) -> Any:
    """A field; what `check` refuses is told what it `must_be`."""
    return field(default=default, metadata={"doc": doc, "must_be": must_be, "check": check})


def is_url(text: str) -> bool:
    """An http URL with a host, and with nothing that a link cannot have behind it."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)


def up_to(most: int) -> dict[str, Any]:
    return {"must_be": f"a number up to {most:,}", "check": lambda number: number <= most}


def are_addresses(text: str) -> bool:
    return all(re.fullmatch(r"\S+:\d{1,5}", part.strip()) for part in text.split(",") if part.strip())


def are_seconds(text: str) -> bool:
    try:
        return all(0 <= float(part) < float("inf") for part in text.split(","))
    except ValueError:
        return False


@dataclass(frozen=True)
class Config:
    HOST: str = setting("127.0.0.1", "address to listen on")
    PORT: int = setting(8000, "port to listen on", "a port, from 1 to 65535", lambda port: 1 <= port <= 65535)
    PUBLIC_URL: str = setting(
        "",
        "how browsers and agents reach this server; `http://HOST:PORT` if empty",
        "a URL such as https://chat.example.com",
        is_url,
    )
    SECRET_KEY: str = setting(
        "",
        "signs sessions and derives webhook secrets; made and kept in `DATA_DIR` if empty",
        "16 characters or more",
        lambda key: len(key) >= 16,
    )
    WORKERS: int = setting(2, "gunicorn worker processes", "a number from 1 on", lambda workers: workers >= 1)
    DATA_DIR: str = setting("var", "folder for the database, the broker's socket and what `bin/run` makes")
    DATABASE_URL: str = setting(
        "", "the store: `postgresql://user:password@host/name`; an SQLite file in `DATA_DIR` if empty"
    )
    DATABASE_POOL: int = setting(
        10, "connections that a worker holds to PostgreSQL", "a number from 1 on", lambda pool: pool >= 1
    )
    REDIS_URL: str = setting(
        "",
        "a Redis or Valkey of your own: `redis://host:port/db`, `unix:///path`, "
        "`redis+sentinel://host:port,host:port/service/db` or `redis+cluster://host:port,host:port` (`rediss` for TLS, "
        "`user:password@` before the hosts, `?sentinel_password=` if theirs is another); "
        "an embedded Valkey is started if empty",
    )
    BUS_PREFIX: str = setting("", "put before every channel name, one per deployment on a shared broker")
    TRUSTED_PROXIES: int = setting(0, "how many proxies in front may set X-Forwarded-*")
    STREAMS_PER_WORKER: int = setting(
        5000, "open streams a worker takes before it refuses softly; 0: no limit", **up_to(1_000_000)
    )
    STREAMS_PER_USER: int = setting(
        10, "open streams of one user over all workers; more are refused softly; 0: no limit", **up_to(1_000_000)
    )
    DRAIN_SECONDS: int = setting(5, "how long a stopping worker lets requests and streams end", **up_to(3600))
    WEBHOOK_MAX_BYTES: int = setting(4 * 1024 * 1024, "largest webhook body, bytes")
    AGENT_ALLOW: str = setting(
        "",
        "exact `host:port`, comma separated, of agents on private addresses",
        "host:port, separated by commas",
        are_addresses,
    )
    AGENTS_FILE: str = setting(
        "", "file that describes agents; `agents.toml` beside `app.py` if empty and there is one"
    )
    AGENT_RETRY_SECONDS: str = setting(
        "1,5,25,120",
        "waits before an agent that failed is asked again, seconds",
        "numbers separated by commas, such as 1,5,25,120",
        are_seconds,
    )
    AGENT_READ_SECONDS: float = setting(
        10, "how long an agent may take to answer a dispatch; longer counts as accepted"
    )
    RUN_SECONDS: int = setting(
        600, "how long an accepted run may stay without an answer before it ends as `timeout`", **up_to(30 * 86_400)
    )
    ANSWERS_PER_MINUTE: int = setting(10, "answers that a user may ask for in a minute; 0: no limit", **up_to(10_000))
    TOKENS_PER_DAY: int = setting(
        0,
        "tokens that the answers of a tenant may cost in a day (UTC), as agents report them, "
        "and so not what was stopped before that; 0: no limit",
        **up_to(10**15),
    )
    PAUSE_SECONDS: int = setting(
        60,
        "how long an answer may lack any sign of its agent (a word, an open request) before it ends as `lost`",
        "a number from 1 on",
        lambda seconds: seconds >= 1,
    )
    SESSION_DAYS: int = setting(30, "how long a sign-in lasts, days", **up_to(36_500))
    RETENTION_DAYS: int = setting(
        30,
        "how long events stay for pages to catch up, and deliveries, days; messages stay; 0: for ever",
        **up_to(36_500),
    )
    LOG_FORMAT: str = setting(
        "text", "how the log is written, `text` or `json`", "text or json", lambda form: form in ("text", "json")
    )
    METRICS_TOKEN: str = setting(
        "",
        "bearer token for `/metrics`; if empty, only this machine may ask, and no proxy",
        "a token without blanks",
        lambda token: len(token.split()) == 1 and token == token.strip(),
    )
    DEMO: bool = setting(False, "make the demo account and start the demo agent (`bin/run` sets it)")

    @classmethod
    def from_env(cls, environ: dict[str, str] | None = None) -> Config:
        """Read every setting from the environment; raise ConfigError at one that cannot be used."""
        environ = dict(os.environ) if environ is None else environ
        hints = get_type_hints(cls)
        given = {f.name: parse(f, hints[f.name], environ[f.name]) for f in fields(cls) if environ.get(f.name)}
        settings = cls(**given)
        settings.check_broker()
        return settings

    @classmethod
    def or_exit(cls) -> Config:
        """As `from_env` for a program's start, which a setting that cannot be used ends with one line."""
        try:
            return cls.from_env()
        except ConfigError as error:
            sys.exit(str(error))

    @property
    def data_dir(self) -> Path:
        """The data folder, absolute: workers and commands may run elsewhere."""
        return Path(__file__).parent.joinpath(self.DATA_DIR).resolve()

    @property
    def agents_file(self) -> Path:
        return Path(__file__).parent.joinpath(self.AGENTS_FILE or "agents.toml").resolve()

    @property
    def public_url(self) -> str:
        host = f"[{self.HOST}]" if ":" in self.HOST else self.HOST
        return (self.PUBLIC_URL or f"http://{host}:{self.PORT}").rstrip("/")

    @property
    def database_url(self) -> str:
        return self.DATABASE_URL or f"sqlite:///{self.data_dir / 'backchannel.db'}"

    @property
    def agent_allow(self) -> frozenset[str]:
        return frozenset(part.strip() for part in self.AGENT_ALLOW.split(",") if part.strip())

    @property
    def agent_retries(self) -> tuple[float, ...]:
        """Waits before each further attempt, seconds."""
        return tuple(map(float, self.AGENT_RETRY_SECONDS.split(",")))

    def broker_url(self) -> str:
        """REDIS_URL, which gunicorn.conf.py sets to the embedded broker's if it was empty."""
        return self.REDIS_URL or "redis://127.0.0.1:6379"

    def check_broker(self) -> None:
        """Raise ConfigError if REDIS_URL is of no form we know."""
        from realtime.broker_url import BadURL, links_to  # only here: the settings alone need no Redis client

        try:
            links_to(self.broker_url())
        except BadURL as error:
            raise ConfigError(str(error)) from None

    def secret_key(self) -> str:
        """The key that signs sessions: SECRET_KEY, or one made at the first start and kept in DATA_DIR."""
        if self.SECRET_KEY:
            return self.SECRET_KEY
        path = self.data_dir / "secret_key"
        self.data_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            keep_first(path, secrets.token_urlsafe(48))
        key = path.read_text().strip()
        if not key:
            raise ConfigError(f"{path} is empty; restore it, or remove it to have a new one made")
        return key


def keep_first(path: Path, text: str) -> None:
    """Write a private file whole or not at all: of two processes that start at once, one makes it and both read it."""
    with NamedTemporaryFile("w", dir=path.parent) as file:
        file.write(text)
        file.flush()
        with suppress(FileExistsError):
            os.link(file.name, path)


def parse(setting: Field[Any], kind: type, text: str) -> Any:
    value = convert(setting.name, kind, text)
    if not setting.metadata["check"](value):
        shown = "" if setting.name in SECRETS else f", not {text!r}"
        raise ConfigError(f"{setting.name} must be {setting.metadata['must_be']}{shown}")
    return value


def convert(name: str, kind: type, text: str) -> Any:
    if kind is str:
        return text
    if kind is bool:
        if text.lower() not in BOOLEANS:
            raise ConfigError(f"{name} must be 1 or 0, not {text!r}")
        return BOOLEANS[text.lower()]
    try:
        value = kind(text)
    except ValueError:
        raise ConfigError(f"{name} must be a number, not {text!r}") from None
    if not 0 <= value < float("inf"):
        raise ConfigError(f"{name} must be a number from 0 on, not {text!r}")
    return value
