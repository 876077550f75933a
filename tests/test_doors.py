"""Who gets through which door, and how a refusal looks: every route, by a table written by hand (S32, S4)."""

import json
import re
from typing import Any

import pytest

from tests.acts import open_thread, runs_of, say
from tests.site import Site

PEOPLE = ("anonymous", "charlie", "bob", "olga", "alice")

# What each is answered who asks for something of Alice's: Charlie is of another tenant, Bob a member of hers, Olga
# its operator. Somebody else's is 404, never 403: that it exists is nobody's business.
DOORS: dict[tuple[str, str], tuple[int, ...]] = {
    ("GET", "/"): (302, 200, 200, 200, 200),
    ("GET", "/chat/<thread_id>"): (302, 404, 404, 404, 200),
    ("GET", "/static/<version>/<path:filename>"): (200, 200, 200, 200, 200),
    ("GET", "/login"): (200, 302, 302, 302, 302),
    ("POST", "/login"): (401, 401, 401, 401, 401),
    ("POST", "/logout"): (303, 303, 303, 303, 303),
    ("GET", "/session"): (401, 200, 200, 200, 200),
    ("GET", "/threads"): (401, 200, 200, 200, 200),
    ("POST", "/threads"): (401, 201, 201, 201, 201),
    ("DELETE", "/threads/<thread_id>"): (401, 404, 404, 404, 204),
    ("POST", "/threads/<thread_id>/read"): (401, 404, 404, 404, 200),
    ("POST", "/threads/<thread_id>/retry"): (401, 404, 404, 404, 409),
    ("POST", "/threads/<thread_id>/stop"): (401, 404, 404, 404, 200),
    ("POST", "/threads/<thread_id>/regenerate"): (401, 404, 404, 404, 409),
    ("POST", "/threads/<thread_id>/tip"): (401, 404, 404, 404, 200),
    ("PATCH", "/messages/<message_id>"): (401, 404, 404, 404, 200),
    ("DELETE", "/messages/<message_id>"): (401, 404, 404, 404, 204),
    ("POST", "/messages/<message_id>/send_now"): (401, 404, 404, 404, 200),
    ("POST", "/messages/<message_id>/feedback"): (401, 404, 404, 404, 400),
    ("GET", "/threads/<thread_id>/messages"): (401, 404, 404, 200, 200),
    ("POST", "/threads/<thread_id>/messages"): (401, 404, 404, 404, 201),
    ("GET", "/threads/<thread_id>/events"): (401, 404, 404, 200, 200),
    ("GET", "/runs/<run_id>/partial"): (401, 404, 404, 200, 200),
    ("POST", "/runs/<run_id>/wait"): (401, 404, 404, 404, 200),
    ("GET", "/stream"): (401, 200, 200, 200, 200),
    ("POST", "/webhook/chat-response"): (401, 401, 401, 401, 401),
    ("POST", "/webhook/events"): (401, 401, 401, 401, 401),
    ("GET", "/health/live"): (200, 200, 200, 200, 200),
    ("GET", "/health/ready"): (200, 200, 200, 200, 200),
    ("GET", "/metrics"): (200, 200, 200, 200, 200),  # to this machine; tests/test_metrics.py knocks from elsewhere
}
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/threads"): {"agent": "echo"},
    ("POST", "/threads/<thread_id>/read"): {"seq": 1},
    ("POST", "/threads/<thread_id>/messages"): {"text": "Hello?"},
    ("POST", "/threads/<thread_id>/tip"): {"message_id": "that of the thread"},
    ("PATCH", "/messages/<message_id>"): {"text": "Hello!"},
    ("POST", "/messages/<message_id>/feedback"): {"rating": "up"},
    ("POST", "/webhook/chat-response"): {"thread_id": "t", "run_id": "r", "message": {"text": "x"}},
    ("POST", "/webhook/events"): {"thread_id": "t", "run_id": "r", "index": 0, "events": [{"type": "done"}]},
}
PAGES = {"/", "/chat/<thread_id>"}  # these send a person to /login; all else refuses in JSON
OPEN = {"/static/<version>/<path:filename>", "/login", "/logout", "/health/live", "/health/ready", "/metrics"}


def rules(site: Site) -> set[tuple[str, str]]:
    return {
        (method, rule.rule)
        for rule in site.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def knock(site: Site, who: str, door: tuple[str, str], thread_id: str, **more: Any) -> Any:
    method, rule = door
    run = next(iter(runs_of(site.store, thread_id)), None) or {"id": thread_id, "message_id": thread_id}
    places = {"thread_id": thread_id, "run_id": run["id"], "message_id": run["message_id"]}
    path = rule.replace("<version>/<path:filename>", "x/icon.svg")
    for name, id in places.items():
        path = path.replace(f"<{name}>", id)
    body = BODIES.get(door)
    if body and "message_id" in body:
        body = {"message_id": run["message_id"]}
    response = site.call(who, method, path, body, **more)
    response.close()  # a stream would wait for what happens
    return response


def test_every_door_stands_in_the_table(site: Site) -> None:
    assert rules(site) == set(DOORS)


def test_everyone_gets_exactly_as_far_as_the_table_says(site: Site) -> None:
    answers = {}
    for door in DOORS:
        thread_id = open_thread(site.store, site.people.alice)
        say(site.store, site.people.alice, thread_id)
        answers[door] = tuple(knock(site, who, door, thread_id).status_code for who in PEOPLE)
    assert answers == DOORS


def test_what_is_not_yours_looks_like_what_does_not_exist(site: Site) -> None:
    """P51, P60, S4."""
    for door in [door for door in DOORS if "_id>" in door[1]]:
        thread_id = open_thread(site.store, site.people.alice)
        say(site.store, site.people.alice, thread_id)
        theirs, nowhere = (knock(site, "charlie", door, id) for id in (thread_id, "nowhere"))
        assert (theirs.status_code, nowhere.status_code) == (404, 404), door
        assert theirs.data.replace(thread_id.encode(), b"") == nowhere.data.replace(b"nowhere", b""), door


@pytest.mark.parametrize("accept", ["*/*", "text/html", "text/event-stream", "application/json", ""])
def test_without_credentials_programs_and_streams_are_refused_in_json_and_never_redirected(
    site: Site, accept: str
) -> None:
    """P18, P17."""
    for door in [door for door in DOORS if door[1] not in PAGES | OPEN]:
        response = knock(site, "anonymous", door, "t1", headers={"Accept": accept})
        assert (response.status_code, response.mimetype) == (401, "application/json"), door
        assert response.json["error"]["code"] == "unauthorized"
        assert "Location" not in response.headers


@pytest.mark.parametrize(("path", "next"), [("/", "/"), ("/chat/t1", "/chat/t1"), ("/?a=b%26c", "/?a%3Db%2526c")])
def test_a_page_sends_a_person_to_sign_in_and_remembers_where_to(site: Site, path: str, next: str) -> None:
    response = site.call("anonymous", "GET", path)
    assert (response.status_code, response.headers["Location"]) == (302, f"/login?next={next}")


def test_a_credential_in_the_url_is_none(site: Site) -> None:
    """P56."""
    for path in ("/session", "/threads", "/stream"):
        for where in ("token={}", "access_token={}", "api_key={}", "key={}", "authorization=Bearer%20{}"):
            url = f"{path}?{where.format(site.keys['alice'])}"
            assert site.call("anonymous", "GET", url).status_code == 401, where


def test_only_a_bearers_own_key_opens(site: Site) -> None:
    for value in ("", "Bearer", "Bearer ", "Bearer x", "Basic {}", "{}", "Token {}", "Bearer {}x", "Bearer {} x"):
        headers = {"Authorization": value.format(site.keys["alice"])}
        assert site.call("anonymous", "GET", "/session", headers=headers).status_code == 401, value


def test_an_agents_token_is_no_key_of_a_person_nor_the_other_way_round(site: Site) -> None:
    headers = {"Authorization": f"Bearer {site.people.agent_token}"}
    assert site.call("anonymous", "GET", "/session", headers=headers).status_code == 401
    assert knock(site, "alice", ("POST", "/webhook/chat-response"), "t1").status_code == 401


HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@pytest.mark.parametrize("who", ["anonymous", "alice"])
def test_every_answer_carries_the_security_headers(site: Site, who: str) -> None:
    """S3, S11."""
    thread_id = open_thread(site.store, site.people.alice)
    for door in [*DOORS, ("GET", "/nowhere"), ("PUT", "/threads")]:
        response = knock(site, who, door, thread_id)
        assert {name: response.headers.get(name) for name in HEADERS} == HEADERS, door
        policy = dict(part.partition(" ")[::2] for part in response.headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert not [name for name in response.headers if str(name[0]).startswith("Access-Control-")]


def test_nothing_of_anybody_is_kept_in_a_cache(site: Site) -> None:
    """S30."""
    thread_id = open_thread(site.store, site.people.alice)
    for door in [door for door in DOORS if "static" not in door[1]]:
        assert "no-store" in knock(site, "alice", door, thread_id).headers["Cache-Control"], door


@pytest.mark.parametrize("path", ["/stream", "/threads/{}/events"])
def test_a_stream_is_told_to_proxies_as_one(site: Site, path: str) -> None:
    """P25."""
    response = site.call("alice", "GET", path.format(open_thread(site.store, site.people.alice)))
    response.close()
    assert response.content_type == "text/event-stream; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache, no-store, no-transform"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert "Content-Length" not in response.headers


@pytest.mark.parametrize(
    "path", ["/nowhere", "/threads/x/y/z", "/threads/", "/static/x/../../app.py", "/static/x/nothing.js"]
)
def test_a_path_that_nobody_has_is_404(site: Site, path: str) -> None:
    assert site.call("alice", "GET", path).status_code == 404


def test_a_person_who_is_lost_sees_a_page_and_a_program_json(site: Site) -> None:
    page = site.call("alice", "GET", "/nowhere", headers={"Accept": "text/html,application/xhtml+xml"})
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert re.search(rb"<h1", page.data)
    program = site.call("alice", "GET", "/nowhere")
    assert json.loads(program.data)["error"]["code"] == "not_found"


def test_a_method_that_a_door_does_not_have_is_refused_and_those_it_has_are_named(site: Site) -> None:
    response = site.call("alice", "PUT", "/threads")
    assert (response.status_code, response.json["error"]["code"]) == (405, "method_not_allowed")
    assert {"GET", "POST"} <= set(response.headers["Allow"].replace(" ", "").split(","))
