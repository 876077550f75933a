"""Both webhook bodies, ours and LangGraph's (CONTRACTS, S2), as tables; and junk in every place of them."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.answers import Answer, parse_webhook, read_answer
from chat.errors import Invalid
from chat.text import AGENT_TEXT

RUN = {"thread_id": "t1", "run_id": "r1", "assistant_id": "a1", "metadata": {}, "kwargs": {}}
AI = {"id": "2", "type": "ai", "content": "hello", "additional_kwargs": {}}
HUMAN = {"id": "1", "type": "human", "content": "hi", "additional_kwargs": {}}


def langgraph(status: str, **more: Any) -> Answer:
    return read_answer({**RUN, "status": status, **more})


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"thread_id": "t1", "message": {"text": "hi"}}, Answer("t1", None, text="hi")),
        ({"thread_id": "t1", "message": {"text": "hi"}, "run_id": "r1"}, Answer("t1", "r1", text="hi")),
        ({"thread_id": "t1", "message": {"text": "hi"}, "run_id": None}, Answer("t1", None, text="hi")),
        ({"thread_id": "t1", "message": {"data": {"a": 1}}}, Answer("t1", None, data={"a": 1})),
        ({"thread_id": "t1", "message": {"data": {}}}, Answer("t1", None, data={})),
        (
            {"thread_id": "t1", "message": {"text": "hm", "kind": "reasoning", "data": None}, "more": "is ignored"},
            Answer("t1", None, text="hm", kind="reasoning"),
        ),
    ],
)
def test_our_own_body_is_read_like_this(body: dict[str, Any], answer: Answer) -> None:
    assert read_answer(body) == answer


@pytest.mark.parametrize("kind", ["chat", "data", "handoff", "file", "reasoning", "tool", "notice"])
def test_what_is_said_on_the_way_does_not_answer_the_run(kind: str) -> None:
    answer = read_answer({"thread_id": "t1", "run_id": "r1", "message": {"text": "x", "kind": kind}})
    assert answer.is_final is (kind not in ("reasoning", "tool", "notice"))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        *((value, None) for value in (None, [], "text", 1, 1.5, True)),
        ({}, "message"),
        ({"thread_id": "t1"}, "message"),
        ({"message": {"text": "x"}}, "thread_id"),
        ({"thread_id": 1, "message": {"text": "x"}}, "thread_id"),
        ({"thread_id": None, "message": {"text": "x"}}, "thread_id"),
        ({"thread_id": "t1", "message": None}, "message"),
        ({"thread_id": "t1", "message": "text"}, "message"),
        ({"thread_id": "t1", "message": {"text": 1}}, "message.text"),
        ({"thread_id": "t1", "message": {"text": "x", "kind": "shout"}}, "message.kind"),
        ({"thread_id": "t1", "message": {"text": "x", "data": []}}, "message.data"),
        ({"thread_id": "t1", "message": {}}, "message.text"),
        ({"thread_id": "t1", "message": {"text": ""}}, "message.text"),
        ({"thread_id": "t1", "message": {"text": "a\0b"}}, "message.text"),
        ({"thread_id": "t1", "message": {"data": {"a": ["\0"]}}}, "message.data"),
        ({"thread_id": "t1", "message": {"data": {"\0": 1}}}, "message.data"),
        ({"thread_id": "t1", "message": {"text": "x" * (AGENT_TEXT + 1)}}, "message.text"),
        ({"thread_id": "t1", "message": {"text": "ü" * (AGENT_TEXT // 2 + 1)}}, "message.text"),
        ({"thread_id": "t1", "message": {"data": {"a": "x" * (AGENT_TEXT - 7)}}}, "message.data"),
        ({"thread_id": "t1", "message": {"data": {"a": [0] * (AGENT_TEXT // 2)}}}, "message.data"),
        ({"thread_id": "t1", "message": {"data": {"a": "ü" * (AGENT_TEXT // 2)}}}, "message.data"),
        ({"thread_id": "t1", "message": {"text": "x"}, "run_id": ""}, "run_id"),
        ({"thread_id": "t1", "message": {"text": "x"}, "run_id": 7}, "run_id"),
        ({"thread_id": "t1", "message": {"text": "x"}, "run_id": "x" * 201}, "run_id"),
        ({"thread_id": "t1", "message": {"text": "x"}, "run_id": "a\0"}, "run_id"),
        ({"thread_id": "t1", "run_id": "r1", "status": "done"}, "status"),
        ({"thread_id": "t1", "run_id": "r1", "status": None}, "status"),
        ({"thread_id": "t1", "status": "success"}, "run_id"),
        ({"run_id": "r1", "status": "success"}, "thread_id"),
    ],
)
def test_a_body_that_cannot_be_is_refused_and_the_place_is_named(body: Any, field: str | None) -> None:
    with pytest.raises(Invalid) as refusal:
        read_answer(body)
    assert refusal.value.field == field


def test_the_longest_text_is_taken_whole() -> None:
    assert len(read_answer({"thread_id": "t1", "message": {"text": "x" * AGENT_TEXT}}).text) == AGENT_TEXT


def test_data_may_be_as_long_as_text() -> None:
    longest = {"a": "x" * (AGENT_TEXT - len('{"a":""}'))}
    assert read_answer({"thread_id": "t1", "message": {"data": longest}}).data == longest


# How JSON writes it, and what is read of it: json.dumps of a text that was cut in the middle of an emoji.
HALVES = [
    (r"cut \ud83d", "cut \N{REPLACEMENT CHARACTER}"),
    (r"\ud83d, more", "\N{REPLACEMENT CHARACTER}, more"),
    (r"\uDE00", "\N{REPLACEMENT CHARACTER}"),
    (r"\ude00\ud83d", "\N{REPLACEMENT CHARACTER}" * 2),
    (r"\ud83d\ud83d\ude00", "\N{REPLACEMENT CHARACTER}😀"),
    (r"\ud83d\ude00\ude00", "😀\N{REPLACEMENT CHARACTER}"),
    (r"\ud83d\\ude00", "\N{REPLACEMENT CHARACTER}\\ude00"),
    (r"\\\ud83d", "\\\N{REPLACEMENT CHARACTER}"),
]
WHOLE = [
    (r"\ud83d\ude00", "😀"),
    (r"\uD83D\uDE00", "😀"),
    (r"\\ud83d", r"\ud83d"),
    (r"\\\\ud83d", r"\\ud83d"),
    (r"\ud7ff\ue000", "\ud7ff\ue000"),
]


def theirs(written: str) -> bytes:
    messages = f'[{{"type":"ai","content":"{written}"}}]'
    return f'{{"thread_id":"t1","run_id":"r1","status":"success","values":{{"messages":{messages}}}}}'.encode()


@pytest.mark.parametrize(("written", "text"), [*HALVES, *WHOLE])
def test_half_an_emoji_of_langgraphs_is_replaced_and_what_is_whole_stays(written: str, text: str) -> None:
    """It is sent once, and the sender does not read our 400."""
    assert read_answer(parse_webhook(theirs(written))).text == text


@pytest.mark.parametrize(("whole", "_text"), WHOLE)
def test_what_is_whole_stays_beside_half_an_emoji_too(whole: str, _text: str) -> None:
    alone = read_answer(parse_webhook(theirs(whole))).text
    assert read_answer(parse_webhook(theirs(rf"{whole}\ud83d"))).text == alone + "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(("written", "_text"), HALVES)
def test_half_an_emoji_in_our_own_body_is_refused(written: str, _text: str) -> None:
    body = f'{{"thread_id":"t1","run_id":"r1","message":{{"text":"{written}"}}}}'.encode()
    with pytest.raises(Invalid) as refusal:
        parse_webhook(body)
    assert (refusal.value.status, refusal.value.code) == (400, "bad_json")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]x", b'"\\ud8"', b'{"status":"\\ud83"}', b'{"status":"\\ud83d"', b'{"a":"\\ud8"}"}']
)
def test_what_is_no_json_without_its_halves_is_none_with_them_replaced(body: bytes) -> None:
    with pytest.raises(Invalid):
        parse_webhook(body)


# P42, P43, P44: every status that LangGraph's server posts, and where it puts its error.
@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"status": "success", "values": {"messages": [HUMAN, AI]}}, Answer("t1", "r1", text="hello")),
        ({"status": "pending"}, Answer("t1", "r1", "running")),
        ({"status": "running", "values": {"messages": [HUMAN]}}, Answer("t1", "r1", "running")),
        ({"status": "timeout"}, Answer("t1", "r1", "timeout", error="The agent did not finish in time.")),
        ({"status": "error", "error": "boom"}, Answer("t1", "r1", "error", error="boom")),
        ({"status": "error", "values": {"error": "inside"}}, Answer("t1", "r1", "error", error="inside")),
        ({"status": "error", "error": "top", "values": {"error": "in"}}, Answer("t1", "r1", "error", error="top")),
        ({"status": "error", "error": "", "values": {"error": "in"}}, Answer("t1", "r1", "error", error="in")),
        ({"status": "error"}, Answer("t1", "r1", "error", error="Unknown error")),
        ({"status": "error", "error": None, "values": None}, Answer("t1", "r1", "error", error="Unknown error")),
        ({"status": "error", "error": {"message": "why"}}, Answer("t1", "r1", "error", error="why")),
        ({"status": "error", "error": {"code": 7}}, Answer("t1", "r1", "error", error='{"code":7}')),
        ({"status": "error", "error": ["a", 1]}, Answer("t1", "r1", "error", error='["a",1]')),
        ({"status": "error", "error": "a\0b"}, Answer("t1", "r1", "error", error="a\N{REPLACEMENT CHARACTER}b")),
    ],
)
def test_every_status_of_langgraph_leads_to_something_that_a_person_sees(body: dict[str, Any], answer: Answer) -> None:
    assert read_answer({**RUN, **body}) == answer


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([AI], "hello"),
        ([AI, HUMAN], "hello"),
        ([{**AI, "content": "first"}, HUMAN, AI], "hello"),
        ([{**AI, "type": "AIMessageChunk"}], "hello"),
        ([{**AI, "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}], "ab"),
        ([{**AI, "content": ["a", {"type": "image_url", "image_url": "x"}, "b"]}], "ab"),
        ([{**AI, "content": "a\0b"}], "a\N{REPLACEMENT CHARACTER}b"),
    ],
)
def test_the_answer_is_the_newest_message_of_the_ai(messages: list[Any], text: str) -> None:
    assert langgraph("success", values={"messages": messages}) == Answer("t1", "r1", text=text)


@pytest.mark.parametrize(
    "values",
    [None, {}, {"messages": []}, {"messages": None}, {"messages": [HUMAN]}, {"messages": [{**AI, "content": ""}]}],
)
def test_a_success_without_an_answer_is_shown_as_a_failure(values: Any) -> None:
    answer = langgraph("success", values=values)
    assert (answer.status, answer.error) == ("error", "The agent finished without an answer.")
    assert langgraph("success") == answer


def test_an_answer_that_is_too_long_is_shown_as_a_failure_since_langgraph_does_not_read_our_400() -> None:
    answer = langgraph("success", values={"messages": [{**AI, "content": "ü" * (AGENT_TEXT // 2 + 1)}]})
    assert (answer.status, answer.error) == ("error", "The agent's answer is longer than 256 KiB.")


@pytest.mark.parametrize(
    ("interrupts", "text"),
    [
        ([{"value": "Shall I?"}], "Shall I?"),
        ([{"value": {"question": "Shall I?", "options": []}}], "Shall I?"),
        ([{"value": {"message": "Shall I?"}}], "Shall I?"),
        ([{"value": {"text": "Shall I?"}}], "Shall I?"),
        ([{"value": {"action": "delete"}}], '{"action":"delete"}'),
        ([{"value": "Shall I?"}, {"value": "And this?"}], "Shall I?"),
        *(
            (none, "The agent stopped and waits for a decision.")
            for none in ([], None, "x", [1], [{}], [{"value": ""}])
        ),
    ],
)
def test_an_interrupt_asks_the_person(interrupts: Any, text: str) -> None:
    answer = langgraph("interrupted", values={"__interrupt__": interrupts})
    assert answer == Answer("t1", "r1", "waiting", text=text, kind="notice")
    assert answer.is_final


@pytest.mark.parametrize("status", ["error", "interrupted"])
def test_however_long_an_error_or_a_question_is_what_is_kept_has_a_limit(status: str) -> None:
    long = "ü" * (2 * AGENT_TEXT)
    answer = langgraph(status, error=long, values={"__interrupt__": [{"value": long}]})
    assert 0 < len((answer.error or answer.text).encode()) <= AGENT_TEXT


@pytest.mark.parametrize(
    "change", [{"text": "other"}, {"kind": "data"}, {"data": {}}, {"error": "x"}, {"status": "error"}]
)
def test_answers_that_differ_in_what_is_said_differ_in_meaning(change: dict[str, Any]) -> None:
    said = {"status": "success", "text": "hi", "kind": "chat", "data": None, "error": None}
    assert Answer("t1", "r1", **said).meaning != Answer("t1", "r1", **{**said, **change}).meaning


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "text", "value"]), inner),
    max_leaves=6,
)
OURS = st.fixed_dictionaries(
    {},
    optional={
        "thread_id": st.just("t1") | JUNK,
        "run_id": st.just("r1") | JUNK,
        "message": JUNK | st.fixed_dictionaries({}, optional={"text": JUNK, "kind": JUNK, "data": JUNK}),
    },
)
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "messages": JUNK | st.lists(st.fixed_dictionaries({"type": st.just("ai") | JUNK, "content": JUNK}), max_size=3),
        "__interrupt__": JUNK | st.lists(st.fixed_dictionaries({"value": JUNK})),
        "error": JUNK,
    },
)
STATUSES = st.sampled_from(["pending", "running", "success", "error", "timeout", "interrupted"])
THEIRS = st.fixed_dictionaries(
    {"thread_id": st.just("t1"), "run_id": st.just("r1"), "status": STATUSES | JUNK},
    optional={"values": VALUES | JUNK, "error": JUNK},
)


@given(JUNK | OURS | THEIRS)
def test_junk_is_refused_as_invalid_or_read_and_nothing_else(body: Any) -> None:
    with suppress(Invalid):
        answer = read_answer(body)
        assert answer.text or answer.error or answer.data is not None or answer.status == "running"


@given(VALUES, JUNK, STATUSES)
def test_whatever_langgraph_puts_beside_its_status_its_answer_is_read(values: Any, error: Any, status: str) -> None:
    answer = langgraph(status, values=values, error=error)
    assert answer.text or answer.error or answer.status == "running"
    assert "\0" not in answer.text + (answer.error or "")
