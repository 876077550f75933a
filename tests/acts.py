"""What the named people and their agents do, one call each, through the real store."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select

from chat import deliveries, log, messages, threads
from chat.accounts import Viewer
from chat.deliveries import Receipt
from chat.models import Agent, Delivery, Dispatch, Run
from chat.native import run_json
from chat.store import Store


def open_thread(store: Store, who: Viewer, title: str | None = "A thread") -> str:
    """Open a thread with the tenant's agent echo and return its id. It has a title, unless None is given."""
    return str(store.write(lambda s: threads.create(s, who, "echo", title))["id"])


def say(store: Store, who: Viewer, thread_id: str, text: str = "Hello?", **more: Any) -> dict[str, Any]:
    return store.write(lambda s: messages.say(s, who, thread_id, text, **more))[0]


def call(store: Store, agent: Agent, body: dict[str, Any] | bytes, key: str | None = None) -> Receipt:
    """The agent calls the webhook; its credentials have been checked."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    said = deliveries.read(raw)
    return store.write(lambda s: deliveries.receive(s, agent, said, key, len(raw)))


def write(store: Store, agent: Agent, thread_id: str, run_id: str, *events: dict[str, Any], **more: Any) -> Receipt:
    """The agent says these events of its answer, numbered by `index` or known by their `key`."""
    key, body = more.pop("key", None), {"thread_id": thread_id, "run_id": run_id, "events": list(events), **more}
    raw = json.dumps(body).encode()
    said = deliveries.read_events(raw)
    return store.write(lambda s: deliveries.receive(s, agent, said, key, len(raw)))


def token(text: str) -> dict[str, Any]:
    return {"type": "token", "text": text}


def spoken(text: str = "Hello!", **message: Any) -> dict[str, Any]:
    return {"message": {"text": text, **message}}


def history(store: Store, who: Viewer, thread_id: str, **page: Any) -> dict[str, Any]:
    return store.read(lambda s: messages.history(s, who, thread_id, **page))


def texts(store: Store, who: Viewer, thread_id: str) -> list[str]:
    return [message["text"] for message in history(store, who, thread_id, limit=200)["items"]]


def runs_of(store: Store, thread_id: str) -> list[dict[str, Any]]:
    """The thread's runs, oldest first."""
    query = select(Run).where(Run.thread_id == thread_id).order_by(Run.id)
    return store.read(lambda s: [run_json(run) for run in s.scalars(query)])


def newest_run(store: Store, thread_id: str) -> dict[str, Any]:
    return runs_of(store, thread_id)[-1]


def outbox_of(store: Store, thread_id: str) -> list[str]:
    """The runs of the thread that its agent has still to be asked for, or has not yet answered."""
    query = select(Dispatch.run_id).where(Dispatch.thread_id == thread_id).order_by(Dispatch.seq)
    return store.read(lambda s: list(s.scalars(query)))


def ledger(store: Store) -> list[tuple[int, str]]:
    """Every delivery's status and outcome, oldest first."""
    query = select(Delivery).order_by(Delivery.id)
    return store.read(lambda s: [(row.status, row.outcome) for row in s.scalars(query)])


def told(store: Store, participant_id: str) -> list[tuple[int, str, dict[str, Any]]]:
    """What a reader of the log would be told from its beginning: seq, kind and data."""
    page = store.read(lambda s: log.after(s, participant_id, 0, 10_000))
    assert page is not None
    return [(event.seq, event.kind, json.loads(bytes(event.data))) for event in page.events]
