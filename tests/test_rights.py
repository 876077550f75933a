"""What lets a stream in, and that it ends with it: sessions, keys, and the operator's right to watch (P26, P52)."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.pool import Group
from werkzeug.test import TestResponse

from chat import accounts
from chat.models import ApiKey, SignIn, User
from chat.store import Store
from realtime import hub as hub_module
from realtime.hub import Hub
from tests import sse
from tests.acts import open_thread, say
from tests.site import Site
from tests.until import until


class Watching:
    """A stream that somebody has opened through the door, read as it comes."""

    def __init__(self, answer: TestResponse) -> None:
        assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
        self.events: list[sse.Event] = []
        self._greenlet = gevent.spawn(self._read, answer)
        until(lambda: self.events)
        assert self.events[0].event == "ready"

    def _read(self, answer: TestResponse) -> None:
        parser = sse.EventStream()
        for block in answer.iter_encoded():
            self.events += parser.feed(block)

    @property
    def is_over(self) -> bool:
        return self._greenlet.ready()

    @property
    def end(self) -> str:
        """Why it has ended; empty as long as it has not."""
        return str(self.events[-1].json["reason"]) if self.is_over else ""

    @property
    def texts(self) -> list[str]:
        return [event.json["text"] for event in self.events if event.event == "message"]


@pytest.fixture
def hub(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The site's hub, which ticks, quicker than in earnest."""
    monkeypatch.setattr(hub_module, "TICK", 0.05)
    found, tasks = site.app.extensions["hub"], Group()
    tasks.spawn(found._tick)
    yield found
    found.drain()
    until(lambda: not found.streams)
    tasks.kill()


@pytest.fixture
def thread(site: Site) -> str:
    return open_thread(site.store, site.people.alice)


def become(store: Store, who: str, **values: Any) -> None:
    store.write(lambda s: s.query(User).filter_by(name=f"{who}@example.com").update(values))


def ticks(hub: Hub) -> None:
    """Let the hub look at all grants once more, and whoever it ends go."""
    hub._check_grants()
    gevent.sleep(0.05)


@pytest.mark.parametrize("by", ["key", "session"])
def test_an_operator_who_is_made_a_member_loses_what_was_not_his_and_keeps_what_is(
    site: Site, hub: Hub, thread: str, by: str
) -> None:
    browser = site.signed_in("olga")
    own = open_thread(site.store, site.people.olga)

    def watch(path: str) -> Watching:
        return Watching(browser.get(path) if by == "session" else site.call("olga", "GET", path))

    watching, of_her_own = watch(f"/threads/{thread}/events"), [watch("/stream"), watch(f"/threads/{own}/events")]
    say(site.store, site.people.alice, thread, "seen")
    until(lambda: watching.texts == ["seen"])
    ticks(hub)
    assert len(hub.streams) == 3
    become(site.store, "olga", role="member")
    until(lambda: watching.end == "auth", seconds=3)
    say(site.store, site.people.alice, thread, "not seen")
    say(site.store, site.people.olga, own, "mine")
    until(lambda: all(stream.texts == ["mine"] for stream in of_her_own))
    ticks(hub)
    assert [stream.end for stream in of_her_own] == ["", ""]
    assert watching.texts == ["seen"]


@pytest.mark.parametrize("role", ["admin", "operator"])
def test_an_operator_goes_on_watching_as_long_as_the_role_allows_it(
    site: Site, hub: Hub, thread: str, role: str
) -> None:
    watching = Watching(site.call("olga", "GET", f"/threads/{thread}/events"))
    become(site.store, "olga", role=role)
    ticks(hub)
    assert watching.end == ""


def test_signing_out_ends_what_the_session_opened_by_whatever_right(site: Site, hub: Hub, thread: str) -> None:
    browser, other = site.signed_in("olga"), site.signed_in("olga")
    streams = [Watching(browser.get(path)) for path in ("/stream", f"/threads/{thread}/events")]
    kept = [Watching(other.get("/stream")), Watching(site.call("olga", "GET", f"/threads/{thread}/events"))]
    assert browser.post("/logout", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303
    until(lambda: [stream.end for stream in streams] == ["auth", "auth"], seconds=3)
    ticks(hub)
    assert [stream.end for stream in kept] == ["", ""]


def test_a_disabled_user_loses_every_stream(site: Site, hub: Hub, thread: str) -> None:
    paths = ("/stream", f"/threads/{thread}/events")
    streams = [Watching(site.call("olga", "GET", path)) for path in paths]
    streams += [Watching(site.signed_in("olga").get(path)) for path in paths]
    alice = Watching(site.call("alice", "GET", "/stream"))
    become(site.store, "olga", active=False)
    until(lambda: [stream.end for stream in streams] == ["auth"] * 4, seconds=3)
    assert alice.end == ""


@pytest.fixture
def grants(store: Store, people: SimpleNamespace) -> dict[str, str]:
    """A session and a key of Alice and of Olga, by name."""

    def make(session: Any) -> dict[str, str]:
        found = {}
        for name in ("alice", "olga"):
            accounts.sign_in(session, f"{name}@example.com", 1)
            accounts.add_key(session, session.get_one(User, getattr(people, name).user.id), "test")
            session.flush()
            for kind, table in (("session", SignIn), ("key", ApiKey)):
                [id] = session.query(table.id).filter_by(user_id=getattr(people, name).user.id).one()
                found[f"{name}'s {kind}"] = f"{kind}:{id}"
        return found

    return store.write(make)


def admitted(store: Store, grants: dict[str, str]) -> set[str]:
    """Who is let in, by name, and who as an operator."""
    asked = grants | {f"{name} as operator": f"{grant}:operator" for name, grant in grants.items()}
    found = store.peek(lambda s: accounts.admitted(s, set(asked.values())))
    return {name for name, grant in asked.items() if grant in found}


ALL = {"alice's session", "alice's key", "olga's session", "olga's key"}
OPERATORS = {"olga's session as operator", "olga's key as operator"}


@pytest.mark.parametrize(
    ("table", "change", "left"),
    [
        (User, {}, ALL | OPERATORS),
        (User, {"role": "member"}, ALL),
        (User, {"role": "admin"}, ALL | OPERATORS | {name + " as operator" for name in ALL}),
        (User, {"active": False}, set()),
        (SignIn, {"revoked_at": 1}, {"alice's key", "olga's key", "olga's key as operator"}),
        (SignIn, {"expires_at": 1}, {"alice's key", "olga's key", "olga's key as operator"}),
        (ApiKey, {"revoked_at": 1}, {"alice's session", "olga's session", "olga's session as operator"}),
    ],
)
def test_a_grant_holds_as_long_as_its_credential_and_its_role(
    store: Store, grants: dict[str, str], table: Any, change: dict[str, Any], left: set[str]
) -> None:
    if change:
        store.write(lambda s: s.query(table).update(change))
    assert admitted(store, grants) == left


@pytest.mark.parametrize("grant", ["session:x", "key:x:operator", "agent:1", "session:"])
def test_what_names_no_credential_is_not_let_in(store: Store, grants: dict[str, str], grant: str) -> None:
    assert store.peek(lambda s: accounts.admitted(s, {grant, grants["alice's key"]})) == {grants["alice's key"]}
