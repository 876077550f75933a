"""What is written down of requests: an id in all of them, a line for some, and nothing that a stranger chose."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

import logs
from tests.acts import open_thread, spoken
from tests.site import Site

CANARY = "canary-in-the-coal-mine"


class Book(logging.Handler):
    """Keeps each record as the server would write it, in both forms."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.records: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(logs.formatter("text").format(record))
        self.records.append(json.loads(logs.formatter("json").format(record)))

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The records that tell of a request."""
        return [record for record in self.records if record["logger"] == "blueprints.access"]


@pytest.fixture
def book() -> Iterator[Book]:
    book, level = Book(), logging.root.level
    logging.root.addHandler(book)
    logging.root.setLevel(logging.INFO)
    yield book
    logging.root.removeHandler(book)
    logging.root.setLevel(level)


@pytest.mark.parametrize("given", ["abc-123", "A.b_c-9", "x" * 64])
def test_a_well_formed_request_id_is_taken_over(site: Site, book: Book, given: str) -> None:
    answer = site.call("alice", "GET", "/threads/none", headers={"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] == given
    assert book.lines[-1]["request"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", "é", "<script>", None])
def test_any_other_is_replaced_by_one_of_ours(site: Site, book: Book, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-ID": given}
    shown = [site.call("alice", "GET", "/session", headers=headers).headers["X-Request-ID"] for _ in range(2)]
    assert len(set(shown)) == 2
    assert all(len(id) == 16 for id in shown)


def test_what_goes_well_is_not_worth_a_line(site: Site, book: Book) -> None:
    for path in ("/health/live", "/health/ready", "/threads", "/session", "/metrics"):
        assert site.call("alice", "GET", path).status_code == 200
    assert book.lines == []


def test_a_refusal_says_what_why_and_how_long(site: Site, book: Book) -> None:
    thread_id = open_thread(site.store, site.people.alice)
    site.call("charlie", "GET", f"/threads/{thread_id}/messages")
    [line] = book.lines
    assert (line["method"], line["route"], line["status"]) == ("GET", "/threads/<thread_id>/messages", 404)
    assert (line["why"], line["thread"]) == ("unknown_thread", thread_id)
    assert line["tenant"] == site.people.charlie.user.tenant_id
    assert line["ms"] >= 0
    assert line["level"] == "info"


def test_a_webhook_has_a_line_with_its_agent_whatever_becomes_of_it(site: Site, book: Book) -> None:
    thread_id = open_thread(site.store, site.people.alice)
    said = {"thread_id": thread_id, **spoken(CANARY)}
    headers = {"Authorization": f"Bearer {site.people.agent_token}"}
    statuses = [
        site.call("nobody", "POST", "/webhook/chat-response", body, headers=headers | more).status_code
        for body, more in (
            (said, {"Idempotency-Key": CANARY}),
            (said, {}),
            ({**said, **spoken("something else")}, {"Idempotency-Key": CANARY}),
            (said, {"Authorization": f"Bearer {CANARY}"}),
        )
    ]
    assert statuses == [200, 400, 409, 401]
    assert [line["status"] for line in book.lines] == statuses
    assert [line.get("agent") for line in book.lines] == [site.people.agent.id] * 3 + [None]
    assert [line.get("thread") for line in book.lines] == [thread_id] * 3 + [None]
    assert [line.get("why") for line in book.lines][:2] == [None, "no_key"]
    assert CANARY not in json.dumps(book.records)


def test_a_failed_sign_in_is_told_without_the_name(site: Site, book: Book) -> None:
    """People type passwords where names belong."""
    for name in ("alice@example.com", " ALICE@example.com", CANARY):
        site.browser().post("/login", data={"name": name, "password": CANARY})
    told = [record for record in book.records if record["logger"] == "blueprints.sessions"]
    assert [record["address"] for record in told] == ["127.0.0.1"] * 3
    first, second, third = [record["name_mark"] for record in told]
    assert first == second != third
    assert not [text for text in book.texts if CANARY in text or "alice" in text.lower()]


# Line breaks, which no HTTP header can hold, come by the path and the body.
HOSTILE = ["\x1b[31m", "%0d%0aforged", "\u202e", "x" * 5000, "${jndi:ldap://x}", "%s%n"]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_a_request_forges_or_reaches_the_log(site: Site, book: Book, text: str) -> None:
    marked = f"{CANARY}{text}"
    latin = marked.encode("utf-8").decode("latin-1")
    headers = dict.fromkeys(
        ("User-Agent", "Referer", "Origin", "X-Request-ID", "X-Forwarded-For", "Forwarded", "Last-Event-ID", "Cookie"),
        latin,
    )
    headers |= dict.fromkeys(
        ("Idempotency-Key", "webhook-id", "webhook-signature", "webhook-timestamp", "Accept"), latin
    )
    agent = {"Authorization": f"Bearer {site.people.agent_token}"}
    path = marked.replace("/", "")
    site.call("alice", "GET", f"/{path}", headers=headers)
    site.call("alice", "GET", f"/threads/{path}/messages", headers=headers)
    site.call("alice", "GET", "/threads/x/messages", headers=headers, query_string={"before": marked})
    site.call("alice", "POST", "/threads", {"agent": marked, "title": marked}, headers=headers)
    site.call("anonymous", "POST", "/login", {"name": marked, "password": marked}, headers=headers)
    body = {"thread_id": marked, "run_id": marked, "status": marked, "message": {"text": marked, "kind": marked}}
    site.call("anonymous", "POST", "/webhook/chat-response", body, headers=headers | agent)
    site.call(
        "anonymous", "POST", "/webhook/chat-response", body, headers=headers | {"Authorization": f"Bearer {latin}"}
    )
    site.call("alice", "POST", "/threads", f'{{"agent": "{marked}'.encode(), headers=headers)
    assert len(book.lines) >= 6
    assert all(len(entry.split("\n")) == 1 for entry in book.texts)
    assert not [entry for entry in book.texts if CANARY in entry]
