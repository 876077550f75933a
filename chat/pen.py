"""The pen of one answer: takes events into its draft, and says in frames what a reader of the draft has to be told.

A reader holds `count` events of a draft. Every frame names the events it covers, from `since` up to `count`, so the
reader knows whether it joins on to what is held, is old, or shows that something between was lost; then the store has
it, for only what is saved is left out of later frames. Text is told from where the store stops knowing it (`at`, in
UTF-16 units, as JavaScript counts): any frame that comes after a snapshot of the store joins it, and one that is lost
is made up for by the next. All else is saved before it is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from msgspec import to_builtins

from chat.draft import Draft, apply, check_parts, copied, length
from chat.errors import Invalid
from chat.events import FollowUpQuestions, Metadata, QualityScore, Reasoning, Said, Sources, Stage, Token, Tool
from chat.ids import now_ms
from chat.text import AGENT_TEXT


class Frame(NamedTuple):
    kind: str
    data: dict[str, Any]


class Piece(NamedTuple):
    """A word that is not saved."""

    came_at: int  # Unix milliseconds
    text: str
    number: int  # of its event


class Mark(NamedTuple):
    events: int
    pieces: int  # of text that is not saved


# What of the draft an event changes, and under which name that is told.
TEXTS = {Token: ("delta", "text"), Reasoning: ("reasoning", "reasoning")}
PARTS = {
    Stage: ("stage", ("stages",)),
    Tool: ("tool", ("tools",)),
    Sources: ("sources", ("sources",)),
    QualityScore: ("quality_score", ("quality_score",)),
    FollowUpQuestions: ("follow_up_questions", ("follow_up_questions",)),
    Metadata: ("metadata", ("model", "usage", "metadata")),
}


class Pen:
    """The right to write one answer, until another takes it: `gen` counts who has. `count` events are in the draft."""

    def __init__(self, run_id: str, thread_id: str, log: str, gen: int, count: int, draft: Draft) -> None:
        self.run_id, self.thread_id, self.log = run_id, thread_id, log
        self.gen, self.count, self.draft = gen, count, draft
        self.saved_count = count
        written = {Token: draft.text, Reasoning: draft.reasoning}
        self._room = {kind: AGENT_TEXT - len(text.encode()) for kind, text in written.items()}  # bytes
        self._last: type[Said] | None = None  # the kind of what is not saved
        self._fresh: list[Piece] = []
        self._at = 0  # where in its section that begins

    @property
    def is_saved(self) -> bool:
        return self.saved_count == self.count

    @property
    def has_told_words(self) -> bool:
        """Have readers been told, or will they be in a moment, what the store does not know?"""
        return not self.is_saved and self._last in TEXTS

    def joins(self, event: Said) -> bool:
        """May this be taken before what is there is saved? Only text, after text of the same section."""
        return self.is_saved or (is_text(event) and self._last is kind_of(event))

    def add(self, event: Said) -> None:
        """Take the next event. Raises Invalid when the whole becomes too long."""
        if self.is_saved:
            self._last, self._fresh = kind_of(event), []
            self._at = length(getattr(self.draft, TEXTS[self._last][1])) if self._last in TEXTS else 0
        if isinstance(event, Token | Reasoning):
            self._check_room(kind_of(event), event.text)
            if event.text:  # an empty one is counted, but kept nowhere: there may be any number of them
                self._fresh.append(Piece(now_ms(), event.text, self.count))
        # What is refused must not stay in the draft; text is checked above.
        draft = self.draft if is_text(event) else copied(self.draft)
        apply(draft, event, now_ms())
        if self._last in PARTS:
            check_parts(draft)
        self.draft = draft
        self.count += 1

    def _check_room(self, kind: type[Said], text: str) -> None:
        self._room[kind] -= len(text.encode())
        if self._room[kind] < 0:
            raise Invalid("too_long", f"an answer, and its reasoning, must have at most {AGENT_TEXT:,} bytes", "text")

    def frame(self) -> Frame | None:
        """What is not saved, for readers; None if it is nothing that they see."""
        told = {"run_id": self.run_id, "thread_id": self.thread_id, "gen": self.gen}
        told |= {"since": self.saved_count, "count": self.count}
        if self._last in TEXTS:
            return Frame(TEXTS[self._last][0], {**told, "at": self._at, "text": joined(self._fresh)})
        if self._last in PARTS:
            kind, names = PARTS[self._last]
            return Frame(kind, told | {name: to_builtins(getattr(self.draft, name)) for name in names})
        return None

    def mark(self) -> Mark:
        """Where it stands now, to be told to `saved` when the store has that."""
        return Mark(self.count, len(self._fresh))

    def saved(self, mark: Mark | None = None) -> None:
        """The store has all that there was at `mark`, or all there is."""
        self.saved_count, pieces = mark or self.mark()
        self._at += length(joined(self._fresh[:pieces]))
        del self._fresh[:pieces]

    def take_back(self, draft: Draft) -> None:
        """Forget the last event, before which the draft was this."""
        self.draft, self.count = draft, self.count - 1

    def cut_back(self, at_ms: int) -> None:
        """Forget what came after that time, as far as it is not saved."""
        late = [piece for piece in self._fresh if piece.came_at > at_ms]
        if self._last in TEXTS and late:
            name = TEXTS[self._last][1]
            setattr(self.draft, name, getattr(self.draft, name).removesuffix(joined(late)))
            self.count = late[0].number
            del self._fresh[-len(late) :]


def joined(pieces: Iterable[Piece]) -> str:
    return "".join([piece.text for piece in pieces])


def kind_of(event: Said) -> type[Said]:
    return Token if isinstance(event, Token) else type(event)


def is_text(event: Said) -> bool:
    return isinstance(event, Token | Reasoning)


def frames(pen: Pen, events: Iterable[Said]) -> Iterator[Frame]:
    """Take events that will be saved together; yield what to tell after that."""
    for event in events:
        if not pen.joins(event):
            yield from said(pen)
        pen.add(event)
        if not is_text(event):
            yield from said(pen)
    if not pen.is_saved:
        yield from said(pen)


def said(pen: Pen) -> Iterator[Frame]:
    if frame := pen.frame():
        yield frame
    pen.saved()
