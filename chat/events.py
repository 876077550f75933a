"""What an agent may say while it answers: typed events, each one line of JSON, and their frames for those who watch.

They are numbered from 0 by the agent, a batch by its first `index`, a streamed body by the order of its lines.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from chat.errors import Invalid
from chat.text import AGENT_TEXT, check_depth, check_length, convert, parse_json, storable

LINE = 64 * 1024  # bytes of one event

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Few = Meta(max_length=50)


class Said(Struct, tag_field="type", forbid_unknown_fields=False):
    """One event. `is_last` ends the answer."""

    is_last = False


class Token(Said, tag="token"):
    """The next piece of the answer's text."""

    text: str


class Delta(Token, tag="delta"):
    """The same under another usual name."""


class Reasoning(Said, tag="reasoning"):
    """The next piece of what the agent thinks before it answers."""

    text: str


class Stage(Said, tag="stage"):
    """What it does now. The stage before ends; its duration is measured here, unless the agent says it."""

    name: Name
    duration_ms: Annotated[int, Meta(ge=0, le=7 * 86_400_000)] | None = None


class Tool(Said, tag="tool"):
    """A tool's call, told again under the same `id` when it has ended."""

    name: Name
    id: Annotated[str, Meta(max_length=200)] = ""
    status: Literal["running", "success", "error"] = "running"
    input: Any = None
    output: Any = None


class Source(Struct, omit_defaults=True):
    title: str = ""
    url: str = ""
    text: str = ""
    score: float | None = None


class Sources(Said, tag="sources"):
    """What the answer rests on, in the order of its numbers; more may follow."""

    sources: Annotated[list[Source], Few]


class QualityScore(Said, tag="quality_score"):
    score: Annotated[float, Meta(ge=0, le=1)]


class FollowUpQuestions(Said, tag="follow_up_questions"):
    questions: Annotated[list[Annotated[str, Meta(min_length=1, max_length=500)]], Meta(max_length=10)]


MOST_TOKENS = 10**9
Tokens = Annotated[int, Meta(ge=0, le=MOST_TOKENS)]


class Usage(Struct, omit_defaults=True):
    """In tokens."""

    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    total_tokens: Tokens | None = None


class Metadata(Said, tag="metadata"):
    model: str | None = None
    usage: Usage | None = None
    data: dict[str, Any] | None = None


class Whole(Said, tag="message"):
    """The whole answer at once. It takes the place of what was written before, and ends the answer."""

    is_last = True
    text: str
    data: dict[str, Any] | None = None


class Handoff(Said, tag="handoff"):
    """Somebody else goes on: a message of its own, said in passing."""

    text: str = ""
    data: dict[str, Any] | None = None


class Question(Said, tag="question"):
    """The agent asks the person, and waits for what they say next."""

    is_last = True
    text: Annotated[str, Meta(min_length=1)]
    data: dict[str, Any] | None = None


class Error(Said, tag="error"):
    """The agent has failed; what it wrote until then stays."""

    is_last = True
    message: str = "The agent reported an error."


class Done(Said, tag="done"):
    """The answer is complete. With `count`, how many events came before it, one that is missing is noticed."""

    is_last = True
    count: Annotated[int, Meta(ge=0)] | None = None


AnyEvent = (
    Token | Delta | Reasoning | Stage | Tool | Sources | QualityScore | FollowUpQuestions | Metadata
    | Whole | Handoff | Question | Error | Done
)  # fmt: skip


EVENTS: dict[str, type[Said]] = {str(kind.__struct_config__.tag): kind for kind in get_args(AnyEvent)}
DECODER: msgspec.json.Decoder[Said] = msgspec.json.Decoder(AnyEvent)


Writer = Annotated[str, Meta(min_length=1, max_length=200)]  # a name that each attempt to answer gives itself


class Batch(Struct):
    """The body of one POST. `index` is the number of its first event; none at all is a sign of life."""

    thread_id: str
    run_id: Annotated[str, Meta(min_length=1, max_length=200)]
    events: Annotated[list[dict[str, Any]], Meta(max_length=1000)]
    index: Annotated[int, Meta(ge=0, le=10**9)] | None = None
    writer: Writer | None = None

    @property
    def is_numbered(self) -> bool:
        """May it come again without a key, and be known for the same?"""
        return self.index is not None

    @property
    def meaning(self) -> tuple[Any, ...]:
        return self.index, self.events


class Beginning(Struct):
    """The first line of a streamed body: which answer it brings. `index` is the number of its first event."""

    thread_id: str
    run_id: Annotated[str, Meta(min_length=1, max_length=200)]
    index: Annotated[int, Meta(ge=0, le=10**9)] = 0
    writer: Writer | None = None


def read_beginning(line: bytes) -> Beginning:
    """Raises Invalid."""
    if not line:
        raise Invalid("empty", "the first line must say thread_id and run_id, and come within 10 seconds", "line 1")
    said = parse_json(line, "line 1")
    if isinstance(said, dict) and "events" in said:
        raise Invalid(
            "invalid", "a stream has its events in lines of their own; send a batch as application/json", "events"
        )
    beginning = convert(said, Beginning)
    storable(beginning.run_id, "run_id")
    storable(beginning.writer, "writer")
    return beginning


def read_batch(body: Any) -> Batch:
    """Read a decoded JSON body. Raises Invalid that names the field."""
    batch = convert(body, Batch)
    storable(batch.run_id, "run_id")
    storable(batch.writer, "writer")
    for number, event in enumerate(batch.events):
        read_event(event, f"events[{number}]")
    return batch


def read_line(line: bytes, field: str) -> Said:
    """Read one line of a streamed body. Raises Invalid. Words, which come by the thousand, are read in one go."""
    with suppress(msgspec.MsgspecError, UnicodeError, RecursionError):  # what is wrong is said below
        event = DECODER.decode(line)
        if isinstance(event, Token | Reasoning) and "\x00" not in event.text:
            return event
    return read_event(parse_json(line, field), field)


def read_event(value: Any, field: str) -> Said:
    """Read one decoded event. Raises Invalid that names what of `field` was wrong."""
    name = value.get("type") if isinstance(value, dict) else None
    if isinstance(name, str) and name not in EVENTS:
        raise Invalid("invalid", f"there is no such event; there are {', '.join(EVENTS)}", f"{field}.type")
    try:
        event: Said = convert(value, EVENTS[name] if isinstance(name, str) else AnyEvent)  # type: ignore[arg-type]
    except Invalid as error:
        raise Invalid(
            error.code, error.message.rstrip("."), f"{field}.{error.field}" if error.field else field
        ) from None
    check_depth(value)
    storable(value, field)
    if isinstance(event, Whole):
        check_length(event.text, AGENT_TEXT, f"{field}.text", "bytes")
        check_length(msgspec.json.encode(event.data).decode(), AGENT_TEXT, f"{field}.data", "bytes")
    else:
        check_length(msgspec.json.encode(event).decode(), LINE, field, "bytes")
    return event
