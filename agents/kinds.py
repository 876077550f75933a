"""The agents that agents.toml describes (docs/agents.md): whom, for which tenants, and how each is asked.

Their secrets stay in memory: the store knows an agent's name, its kind and, of one asked by webhook, its URL.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from agents.address import AddressRefused, read
from agents.function import Function, look_in
from agents.kind import Kind, Text
from agents.langgraph import LangGraph
from agents.openai import OpenAI
from chat.errors import Invalid
from chat.text import check_name
from config import Config, ConfigError

FROM_ENV = "_env"  # `api_key_env = "NAME"`: the value of `api_key` is the variable's

Agents = Mapping[tuple[str, str], Kind]  # by tenant and name


class Webhook(Kind, tag="webhook", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One that takes its questions over HTTP and answers by webhook."""

    url: Text

    @property
    def webhook_url(self) -> str:
        return self.url


KINDS: dict[str, type[Kind]] = {"webhook": Webhook, "openai": OpenAI, "langgraph": LangGraph, "function": Function}
LINKS = ("url", "base_url")  # which fields are URLs


def load(settings: Config) -> Agents:
    """The agents of AGENTS_FILE; none if that is not set and there is no such file. Raises ConfigError, in one line."""
    path = settings.agents_file
    if not path.exists() and not settings.AGENTS_FILE:
        return {}
    look_in(path.parent)
    try:
        described = tomllib.loads(path.read_text())
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path.name} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        return by_name(list(agents_in(described, os.environ)))
    except ValueError as error:
        raise ConfigError(f"{path.name}: {error}") from None


def agents_in(described: dict[str, Any], environ: Mapping[str, str]) -> Iterator[Kind]:
    """Raises ValueError that names the agent and what is wrong with it."""
    agents = described.get("agents")
    if set(described) - {"agents"} or not isinstance(agents, list):
        raise ValueError("it must hold nothing but agents, each under [[agents]]")
    for number, table in enumerate(agents, 1):
        named = table.get("name") if isinstance(table, dict) else None
        try:
            yield one(table, environ)
        except (ValueError, Invalid) as error:
            raise ValueError(f"agent {' '.join(str(named or '').split()) or number}: {error}") from None


def one(table: dict[str, Any], environ: Mapping[str, str]) -> Kind:
    kind = KINDS.get(str(table.get("kind")))
    if kind is None:
        raise ValueError(f"its kind must be one of {', '.join(KINDS)}")
    try:
        agent = msgspec.convert(dict(filled(table, environ)), kind)
    except msgspec.ValidationError as error:
        raise ValueError(in_plain_words(str(error))) from None
    for named in (agent.name, *agent.tenants):
        check_name(named, "an agent, or a tenant,")
    for link in LINKS:
        check_link(link, getattr(agent, link, None))
    agent.check()
    return agent


def filled(table: dict[str, Any], environ: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """What stands in the table, and for what is to be found in the environment, what stands there."""
    for key, value in table.items():
        if not key.endswith(FROM_ENV):
            yield key, value
        elif not isinstance(value, str) or not environ.get(value):
            # Without the value: whoever puts the key itself there must not find it in the log.
            raise ValueError(f"`{key}` must be the name of an environment variable that is set")
        else:
            yield key.removesuffix(FROM_ENV), environ[value]


def check_link(name: str, url: str | None) -> None:
    try:
        if url is not None:
            read(url)
    except AddressRefused:
        raise ValueError(f"`{name}` must be a URL such as https://agents.example.com, not {url!r}") from None


def in_plain_words(said: str) -> str:
    """What msgspec says, without its way of saying where."""
    what, _, where = said.partition(" - at `$")
    if found := re.match(r"Object (contains unknown|missing required) field (`.+?`)", what):
        return f"unknown setting {found[2]}" if found[1] == "contains unknown" else f"the setting {found[2]} is missing"
    field = where.rstrip("`").lstrip(".")
    return f"`{field}`: {what}" if field else what


def by_name(agents: list[Kind]) -> Agents:
    """Raises ValueError where two have one name, or one token."""
    found: dict[tuple[str, str], Kind] = {}
    for agent in agents:
        for tenant in agent.tenants:
            key = tenant.strip(), agent.name.strip()
            if key in found:
                raise ValueError(f"agent {agent.name}: the tenant {tenant} has another of this name")
            found[key] = agent
    check_tokens(found)
    return found


def check_tokens(found: Agents) -> None:
    """Raises ValueError where a token does not say which agent, and of which tenant, has come."""
    holders: dict[str, Kind] = {}
    for agent in found.values():  # once for each of its tenants
        holder = holders.get(agent.token)
        if holder is agent:
            how = "describe the agent once for each of its tenants, each time with a `token` of its own"
            raise ValueError(f"agent {agent.name}: a `token` is for one tenant; {how}")
        if holder is not None:
            theirs = f"{holder.name} of {holder.tenants[0]}"
            raise ValueError(f"agent {agent.name}: {theirs} has the same `token`; each needs one of its own")
        if agent.token:
            holders[agent.token] = agent
