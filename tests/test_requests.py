"""What a request may say, and how a refusal is told: always JSON that names the field, never a 500 (S18, S19, S28)."""

from typing import Any

import pytest

from tests.acts import open_thread, say
from tests.site import Site


@pytest.fixture
def thread(site: Site) -> str:
    return open_thread(site.store, site.people.alice)


DEEP = b'{"text":"x","data":' + b'{"a":' * 40 + b"1" + b"}" * 40 + b"}"
REFUSED: list[tuple[str, str, Any, int, str, str | None]] = [
    ("POST", "/threads", b"", 400, "bad_json", None),
    ("POST", "/threads", b"{", 400, "bad_json", None),
    ("POST", "/threads", b"\xff", 400, "bad_json", None),
    ("POST", "/threads", b'{"agent":"\\ud800"}', 400, "bad_json", None),
    ("POST", "/threads", b"[" * 100_000, 400, "too_deep", None),
    ("POST", "/threads", [], 400, "invalid", None),
    ("POST", "/threads", {}, 400, "invalid", "agent"),
    ("POST", "/threads", {"agent": 1}, 400, "invalid", "agent"),
    ("POST", "/threads", {"agent": "nobody"}, 400, "unknown_agent", "agent"),
    ("POST", "/threads", {"agent": "echo", "title": 1}, 400, "invalid", "title"),
    ("POST", "/threads", {"agent": "echo", "title": "x" * 201}, 400, "too_long", "title"),
    ("POST", "/threads", {"agent": "echo", "title": "\0"}, 400, "nul", "title"),
    ("POST", "/threads", b" " * (256 * 1024 + 1), 413, "request_entity_too_large", None),
    ("POST", "/threads/{}/messages", {}, 400, "empty", "text"),
    ("POST", "/threads/{}/messages", {"text": " \n"}, 400, "empty", "text"),
    ("POST", "/threads/{}/messages", {"text": "x" * 32_001}, 400, "too_long", "text"),
    ("POST", "/threads/{}/messages", {"text": "a\0b"}, 400, "nul", "text"),
    ("POST", "/threads/{}/messages", {"text": ["x"]}, 400, "invalid", "text"),
    ("POST", "/threads/{}/messages", {"text": "x", "data": []}, 400, "invalid", "data"),
    ("POST", "/threads/{}/messages", {"text": "x", "data": {"a": "\0"}}, 400, "nul", "data"),
    ("POST", "/threads/{}/messages", {"text": "x", "client_id": ""}, 400, "invalid", "client_id"),
    ("POST", "/threads/{}/messages", {"text": "x", "client_id": "x" * 101}, 400, "invalid", "client_id"),
    ("POST", "/threads/{}/messages", {"text": "x", "client_id": "\0"}, 400, "nul", "client_id"),
    ("POST", "/threads/{}/messages", DEEP, 400, "too_deep", None),
    ("POST", "/threads/{}/messages", b'{"text": NaN}', 400, "bad_json", None),
    ("POST", "/threads/{}/read", {}, 400, "invalid", "seq"),
    ("POST", "/threads/{}/read", {"seq": "1"}, 400, "invalid", "seq"),
    ("POST", "/threads/{}/read", {"seq": 1.5}, 400, "invalid", "seq"),
    ("POST", "/threads/{}/read", {"seq": None}, 400, "invalid", "seq"),
    *(("GET", f"/threads?limit={n}", None, 400, "invalid", "limit") for n in ("0", "201", "-1", "x", "1.0", "%D9%A3")),
    *(("GET", f"/threads?before={b}", None, 400, "before", "before") for b in ("", "x", "-1.a", "1e3.a", "9" * 20)),
    *(("GET", "/threads/{}/messages?" + f"{name}={n}", None, 400, "invalid", name) for n in ("-1", "x", "9" * 17)
      for name in ("before", "after")),
    ("GET", "/threads/{}/messages?before=1&after=1", None, 400, "invalid", "before"),
    ("POST", "/threads/{}/retry", None, 409, "nothing_to_retry", None),
    ("GET", "/stream?focus=" + ",".join("abcdefghijklmnopqrstu"), None, 400, "too_many", "focus"),
    ("GET", "/stream?page=" + "x" * 65, None, 400, "too_long", "page"),
]  # fmt: skip


def test_every_refusal_is_json_that_says_what_was_wrong_and_where(site: Site, thread: str) -> None:
    for method, path, body, status, code, field in REFUSED:
        answer = site.call("alice", method, path.format(thread), body)
        said = f"{method} {path} {str(body)[:80]}"
        assert (answer.status_code, answer.mimetype) == (status, "application/json"), said
        error = answer.json["error"]
        assert (error["code"], error.get("field")) == (code, field), said
        assert error["message"], said
        assert set(answer.json) == {"error"}
        assert set(error) <= {"code", "message", "field"}


# S28: values that have meant something to somebody's parser.
STRANGE = [
    *(
        "0",
        "-1",
        "null",
        "undefined",
        "*",
        "%",
        "%25",
        "..",
        "%2e%2e",
        "'",
        "' OR 1=1--",
        '"',
        ";",
        "{{7*7}}",
        "${7*7}",
    ),
    *(
        "%00",
        "a%00b",
        "%ff",
        "%ed%a0%80",
        "%e2%80%a8",
        "%F0%9F%98%80",
        "x" * 5_000,
        "[]",
        "{}",
        "a,b",
        "a:b",
        "%0d%0aX: y",
    ),
]


def test_an_id_that_nobody_has_is_404_whatever_it_looks_like(site: Site) -> None:
    doors = [
        ("GET", "/messages"),
        ("POST", "/messages"),
        ("GET", "/events"),
        ("POST", "/read"),
        ("POST", "/retry"),
        ("DELETE", ""),
    ]
    for id in STRANGE:
        for method, door in doors:
            body = {"text": "x", "seq": 1} if method == "POST" else None
            answer = site.call("alice", method, f"/threads/{id}{door}", body)
            answer.close()
            assert answer.status_code == 404, (method, door, id)


def test_whatever_a_stream_is_asked_for_it_is_no_500(site: Site, thread: str) -> None:
    """S27: what comes of a cursor is told in-band; a focus on nothing is none."""
    for value in [*STRANGE, "e1.1", "0-0", "9" * 30]:
        for path in ("/stream", f"/threads/{thread}/events"):
            answer = site.call("alice", "GET", f"{path}?last_event_id={value}")
            answer.close()
            assert answer.status_code == 200, value
        focus = site.call("alice", "GET", f"/stream?focus={value}")
        focus.close()
        assert focus.status_code == 200, value


TEXTS = [
    *(
        "<script>alert(1)</script>",
        "\r\n\r\nevent: bye\ndata: {}\n\n",
        "\u2028\u2029\x85",
        "😀",
        "\ufeffx",
        "a" * 32_000,
    ),
    *("\x07\x1b[31m", "e\u0301 é", "\u202eabc", "&amp;&#0;", "\\u0000", "{{7*7}}", "\ud7ff\ue000", "' OR 1=1--"),
]


def test_a_text_comes_back_as_it_was_sent(site: Site, thread: str) -> None:
    """S19."""
    for text in TEXTS:
        said = site.call("alice", "POST", f"/threads/{thread}/messages", {"text": text, "data": {text[:9]: [text]}})
        assert (said.status_code, said.json["text"]) == (201, text)
    listed = site.call("alice", "GET", f"/threads/{thread}/messages?limit=200").json["items"]
    assert [(message["text"], message["data"]) for message in listed] == [(text, {text[:9]: [text]}) for text in TEXTS]


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/json"])
def test_a_body_is_json_by_whatever_name(site: Site, thread: str, kind: str | None) -> None:
    answer = site.call("alice", "POST", f"/threads/{thread}/messages", b'{"text":"hi"}', content_type=kind)
    assert answer.status_code == 201


def test_a_message_is_answered_with_itself_and_a_repeat_is_flagged(site: Site, thread: str) -> None:
    body = {"text": "hi", "client_id": "c1"}
    first, second = (site.call("alice", "POST", f"/threads/{thread}/messages", body) for _ in range(2))
    assert (first.status_code, first.json) == (second.status_code, second.json)
    assert "Idempotent-Replay" not in first.headers
    assert second.headers["Idempotent-Replay"] == "true"
    other = site.call("alice", "POST", f"/threads/{thread}/messages", {**body, "text": "other"})
    assert (other.status_code, other.json["error"]["code"]) == (409, "key_reused")


def test_health_tells_a_dead_broker_from_a_dead_store(site: Site) -> None:
    assert site.call("anonymous", "GET", "/health/live").json == {"status": "ok"}
    ready = site.call("anonymous", "GET", "/health/ready")
    assert (ready.status_code, ready.json) == (200, {"status": "degraded", "store": "ok", "broker": "away"})


def test_a_full_or_draining_worker_refuses_softly(site: Site) -> None:
    """P17: any error status would end an EventSource for good."""
    site.app.extensions["hub"].draining = True
    answer = site.call("alice", "GET", "/stream", headers={"Last-Event-ID": "e1.7"})
    assert answer.status_code == 200
    assert b"event: bye\nretry: " in answer.data
    assert answer.data.endswith(b"id: e1.7\n\n")
    assert b"id:" not in site.call("alice", "GET", "/stream?last_event_id=nonsense").data


def test_a_page_holds_its_history_and_its_cursor_but_nobody_elses(site: Site, thread: str) -> None:
    say(site.store, site.people.alice, thread, "a canary</script><b>x")
    page = site.call("alice", "GET", f"/chat/{thread}")
    assert b"a canary" in page.data
    assert b"</script><b>x" not in page.data
    assert b"a canary" not in site.call("bob", "GET", "/").data
