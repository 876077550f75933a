"""A draft: what an agent has written so far of an answer. Pure: the same events always make the same draft."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field, json, to_builtins
from msgspec.structs import replace

from chat.errors import Invalid
from chat.events import (
    FollowUpQuestions,
    Metadata,
    QualityScore,
    Reasoning,
    Said,
    Source,
    Sources,
    Stage,
    Token,
    Tool,
    Usage,
    Whole,
)

PARTS = 256 * 1024  # bytes of all that is not text or reasoning


class StageShown(Struct, omit_defaults=True):
    name: str
    began_at: int  # Unix milliseconds
    duration_ms: int | None = None


class ToolShown(Struct, omit_defaults=True):
    name: str
    id: str = ""
    status: str = "running"
    input: Any = None
    output: Any = None


class Draft(Struct, omit_defaults=True):
    """The text and all that stands beside it."""

    text: str = ""
    reasoning: str = ""
    stages: list[StageShown] = field(default_factory=list)
    tools: list[ToolShown] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    quality_score: float | None = None
    follow_up_questions: list[str] = field(default_factory=list)
    model: str | None = None
    usage: Usage | None = None
    metadata: dict[str, Any] | None = None

    def parts(self) -> dict[str, Any] | None:
        """All but the text, as it is kept beside a message's text; None if there is nothing."""
        told = to_builtins(self)
        told.pop("text", None)
        return told or None


def apply(draft: Draft, event: Said, now_ms: int) -> None:
    """Add what an event says. Raises Invalid when the whole becomes too long."""
    match event:
        case Token(text=text):
            draft.text += text
        case Reasoning(text=text):
            draft.reasoning += text
        case Stage():
            begin_stage(draft, event, now_ms)
        case Tool():
            note_tool(draft, event)
        case Sources(sources=sources):
            draft.sources += sources
        case QualityScore(score=score):
            draft.quality_score = score
        case FollowUpQuestions(questions=questions):
            draft.follow_up_questions = questions
        case Metadata():
            draft.model = event.model or draft.model
            draft.usage = event.usage or draft.usage
            draft.metadata = {**(draft.metadata or {}), **event.data} if event.data else draft.metadata
        case Whole(text=text):
            draft.text = text


def copied(draft: Draft) -> Draft:
    """A draft of its own for what an event changes."""
    stages = [replace(stage) for stage in draft.stages]
    return replace(draft, stages=stages, tools=[*draft.tools], sources=[*draft.sources])


def begin_stage(draft: Draft, stage: Stage, now_ms: int) -> None:
    end_stage(draft, now_ms)
    draft.stages.append(StageShown(stage.name, now_ms, stage.duration_ms))


def end_stage(draft: Draft, now_ms: int) -> None:
    """The newest stage is over, at the latest now."""
    if draft.stages and draft.stages[-1].duration_ms is None:
        draft.stages[-1].duration_ms = max(0, now_ms - draft.stages[-1].began_at)


def note_tool(draft: Draft, tool: Tool) -> None:
    """A call that has been told of is told again: the newest of its id or, without one, of its name that still runs."""
    shown = ToolShown(tool.name, tool.id, tool.status, tool.input, tool.output)
    for place, known in reversed(list(enumerate(draft.tools))):
        if known.id == tool.id and known.name == tool.name and (tool.id or known.status == "running"):
            shown.input = known.input if tool.input is None else tool.input
            draft.tools[place] = shown
            return
    draft.tools.append(shown)


def check_parts(draft: Draft) -> None:
    """Raises Invalid when there has come to stand more beside the text than may."""
    beside = sum(len(json.encode(part)) for part in (draft.stages, draft.tools, draft.sources, draft.metadata))
    if beside > PARTS:
        raise Invalid("too_long", f"what stands beside an answer must have at most {PARTS:,} bytes", "events")


def length(text: str) -> int:
    """In UTF-16 units, as JavaScript counts."""
    return len(text.encode("utf-16-le")) // 2
