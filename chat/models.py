"""The tables: what is kept, and which rules the database itself holds (DESIGN 2 and 4).

Ids are UUIDv7 text. Times end in `_at` and are Unix milliseconds by this process's clock; only those that several
processes compare (a dispatch's, a draft's, `late_at`) are in the database's own time, in Unix seconds.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, MetaData, Table, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from chat.ids import new_id, now_ms


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar = {int: BigInteger, str: Text, dict[str, Any]: JSON}

    def __init__(self, **values: Any) -> None:
        """Apply defaults at birth, not when the row is written: a row is shown to its readers before."""
        for column in self.__table__.columns:
            if column.default is not None and column.key not in values:
                default = column.default.arg
                values[column.key] = default(None) if callable(default) else default
        for name, value in values.items():
            setattr(self, name, value)

    def values(self) -> dict[str, Any]:
        """The row's columns by name."""
        return {name: getattr(self, name) for name in self.table().columns.keys()}  # noqa: SIM118 - not a dict

    @classmethod
    def table(cls) -> Table:
        """The table itself, for statements that go past the unit of work."""
        return cast(Table, cls.__table__)


def primary_id() -> Mapped[str]:
    return mapped_column(primary_key=True, default=new_id)


def owned_by(column: str) -> Mapped[Any]:
    """A reference whose row goes when its owner goes."""
    return mapped_column(ForeignKey(column, ondelete="CASCADE"), index=True)


class Tenant(Base):
    __tablename__ = "tenants"
    id: Mapped[str] = primary_id()
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[int] = mapped_column(default=now_ms)


class User(Base):
    """Who may sign in. `name` is an e-mail address, lower case, unique over all tenants."""

    __tablename__ = "users"
    id: Mapped[str] = primary_id()
    tenant_id: Mapped[str] = owned_by("tenants.id")
    name: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str]
    role: Mapped[str] = mapped_column(default="member")  # member, operator or admin
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[int] = mapped_column(default=now_ms)
    tenant: Mapped[Tenant] = relationship(lazy="joined", innerjoin=True)


class ApiKey(Base):
    __tablename__ = "api_keys"
    id: Mapped[str] = primary_id()
    user_id: Mapped[str] = owned_by("users.id")
    name: Mapped[str]
    token_hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[int] = mapped_column(default=now_ms)
    revoked_at: Mapped[int | None]


class SignIn(Base):
    """One sign-in of a user: revocable, unlike a signed cookie alone. The cookie holds the token, this row its hash."""

    __tablename__ = "sessions"
    id: Mapped[str] = primary_id()
    user_id: Mapped[str] = owned_by("users.id")
    token_hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[int] = mapped_column(default=now_ms)
    expires_at: Mapped[int] = mapped_column(index=True)
    revoked_at: Mapped[int | None]


class Participant(Base):
    """The person on whose behalf threads exist, and the counters of that person's log."""

    __tablename__ = "participants"
    __table_args__ = (UniqueConstraint("tenant_id", "external_id"),)
    id: Mapped[str] = primary_id()
    tenant_id: Mapped[str] = owned_by("tenants.id")
    external_id: Mapped[str]
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"), index=True)
    epoch: Mapped[str]
    head: Mapped[int] = mapped_column(default=0)
    floor: Mapped[int] = mapped_column(default=0)
    # The answers of the last minute, each when it was asked for, oldest first; kept while they are limited.
    asked_at: Mapped[list[int] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[int] = mapped_column(default=now_ms)


class Agent(Base):
    """Whom to ask. Its webhook secret is derived from SECRET_KEY and so stands in no row."""

    __tablename__ = "agents"
    __table_args__ = (UniqueConstraint("tenant_id", "name"),)
    id: Mapped[str] = primary_id()
    tenant_id: Mapped[str] = owned_by("tenants.id")
    name: Mapped[str]
    kind: Mapped[str] = mapped_column(default="webhook")  # how it is asked (agents/kinds.py)
    url: Mapped[str]  # where a webhook agent takes its questions; empty for those that agents.toml describes
    token_hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[int] = mapped_column(default=now_ms)


class Thread(Base):
    """A conversation of one participant with one agent; it never changes owner.

    `tip_id` is the last message of the branch that is shown and goes on (chat/branches.py).
    """

    __tablename__ = "threads"
    __table_args__ = (Index(None, "participant_id", "updated_at", "id"),)
    id: Mapped[str] = primary_id()
    tenant_id: Mapped[str] = owned_by("tenants.id")
    participant_id: Mapped[str] = mapped_column(ForeignKey("participants.id", ondelete="CASCADE"))
    agent_id: Mapped[str] = owned_by("agents.id")
    title: Mapped[str | None]
    last_seq: Mapped[int] = mapped_column(default=0)  # the seq of the newest message
    tip_id: Mapped[str | None]
    created_at: Mapped[int] = mapped_column(default=now_ms)
    updated_at: Mapped[int] = mapped_column(default=now_ms)
    agent: Mapped[Agent] = relationship(lazy="joined", innerjoin=True)


class Message(Base):
    """What someone said, as a reader sees it now. `seq` is its creation, `rev` its last change."""

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("participant_id", "seq"),
        Index(None, "thread_id", "seq"),
        Index(None, "thread_id", "parent_id"),
    )
    id: Mapped[str] = primary_id()
    parent_id: Mapped[str | None]  # the message of this thread that it follows
    thread_id: Mapped[str] = mapped_column(ForeignKey("threads.id", ondelete="CASCADE"))
    participant_id: Mapped[str] = mapped_column(ForeignKey("participants.id", ondelete="CASCADE"))
    seq: Mapped[int]
    rev: Mapped[int]
    author: Mapped[str]
    direction: Mapped[str]  # "incoming" from the person, "outgoing" from the agent
    kind: Mapped[str] = mapped_column(default="chat")
    text: Mapped[str]
    data: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    parts: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # what stood beside an answer
    feedback: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))  # what its reader thinks of it
    topic: Mapped[str | None]
    client_id: Mapped[str | None]
    run_id: Mapped[str | None]
    created_at: Mapped[int] = mapped_column(default=now_ms)
    edited_at: Mapped[int | None]


class Run(Base):
    """One attempt to answer. `external_id` is the agent's own name for it, `answer` a digest of what it said."""

    __tablename__ = "runs"
    __table_args__ = (UniqueConstraint("agent_id", "external_id"),)
    id: Mapped[str] = primary_id()
    external_id: Mapped[str]
    participant_id: Mapped[str] = owned_by("participants.id")
    thread_id: Mapped[str] = owned_by("threads.id")
    agent_id: Mapped[str] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"))
    message_id: Mapped[str | None] = owned_by("messages.id")
    answer: Mapped[str | None]
    answer_id: Mapped[str | None] = mapped_column(ForeignKey("messages.id", ondelete="SET NULL"), index=True)
    status: Mapped[str] = mapped_column(default="queued")
    error: Mapped[str | None]
    after_id: Mapped[str | None]  # the message that what it says next will follow
    late_after_ms: Mapped[int | None]  # how long it had been silent when that became worth a word
    usual_ms: Mapped[int | None]  # how long this agent usually takes, as far as it was known then
    late_at: Mapped[float | None]  # when its silence will be worth a word, in the database's time, Unix seconds
    tokens: Mapped[int | None]  # what it cost
    attempts: Mapped[int] = mapped_column(default=0)
    rev: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[int] = mapped_column(default=now_ms)
    started_at: Mapped[int | None]
    ended_at: Mapped[int | None]


class DraftRow(Base):
    """What an agent has written so far of an answer (chat/draft.py); `count` stays when the run has ended.

    `gen` counts who has taken the pen: what one of them still says after the next has come is refused.
    """

    __tablename__ = "drafts"
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    gen: Mapped[int] = mapped_column(default=0)
    count: Mapped[int] = mapped_column(default=0)  # events taken, without a gap
    content: Mapped[str] = mapped_column(default="{}")  # a Draft as JSON
    writer: Mapped[str | None]  # as the attempt that writes it calls itself
    # Events that came too early, by index; much, and seldom wanted.
    ahead: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), deferred=True)
    said_at: Mapped[float] = mapped_column(default=0.0)  # the agent's last word, in the database's time
    seen_at: Mapped[float] = mapped_column(default=0.0)  # its last sign of life, which an open connection is, too


class Usage(Base):
    """What the answers of a tenant cost on one day, in tokens. `day` counts from 1970, in UTC."""

    __tablename__ = "usage"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tokens: Mapped[int] = mapped_column(default=0)


class LogEntry(Base):
    """One entry of a participant's log: it names what changed and is no copy of it."""

    __tablename__ = "events"
    participant_id: Mapped[str] = mapped_column(ForeignKey("participants.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str]  # message, thread, run or read
    change: Mapped[str]  # created, updated or deleted
    thread_id: Mapped[str]  # no foreign key: a deleted thread leaves its events pointing at nothing
    subject_id: Mapped[str]
    created_at: Mapped[int] = mapped_column(default=now_ms)


class ReadMarker(Base):
    __tablename__ = "read_markers"
    thread_id: Mapped[str] = mapped_column(ForeignKey("threads.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(default=0)


class IdempotencyKey(Base):
    """What was answered to a key, never wider than its owner: a participant or an agent."""

    __tablename__ = "idempotency_keys"
    owner_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    meaning: Mapped[str]
    body: Mapped[dict[str, Any]]
    created_at: Mapped[int] = mapped_column(default=now_ms, index=True)


class Dispatch(Base):
    """The outbox: a run that its agent has still to be asked for, or has accepted and not yet answered.

    One that has been stopped after it was put becomes a `cancel`: the agent is told, again and again for a minute.
    It commits together with the message and goes when the run ends. `due_at` and the lease are in the database's time,
    Unix seconds.
    """

    __tablename__ = "outbox"
    __table_args__ = (Index(None, "accepted_at", "due_at"),)
    run_id: Mapped[str] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    thread_id: Mapped[str] = owned_by("threads.id")
    kind: Mapped[str] = mapped_column(default="ask")  # or cancel
    seq: Mapped[int]
    due_at: Mapped[float] = mapped_column(default=0.0)
    lease: Mapped[str | None]
    leased_until: Mapped[float] = mapped_column(default=0.0)
    accepted_at: Mapped[float | None]


class Delivery(Base):
    """One authenticated webhook call: what it was, what became of it, why."""

    __tablename__ = "deliveries"
    __table_args__ = (Index(None, "agent_id", "created_at"),)
    id: Mapped[str] = primary_id()
    agent_id: Mapped[str] = mapped_column(ForeignKey("agents.id", ondelete="CASCADE"))
    thread_id: Mapped[str | None]  # as the caller wrote it; it may name nothing
    run_id: Mapped[str | None]
    key: Mapped[str | None]
    bytes: Mapped[int]
    status: Mapped[int]  # the HTTP status answered
    outcome: Mapped[str]
    created_at: Mapped[int] = mapped_column(default=now_ms, index=True)
