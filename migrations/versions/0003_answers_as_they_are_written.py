"""Answers as they are written: drafts, what stands beside a text, branches, silence, and what answers cost."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

# Until now every message followed the one before.
FOLLOW = """
UPDATE messages SET parent_id = (
    SELECT earlier.id FROM messages AS earlier
    WHERE earlier.thread_id = messages.thread_id AND earlier.seq < messages.seq
    ORDER BY earlier.seq DESC LIMIT 1)
"""
TIPS = """
UPDATE threads SET tip_id = (
    SELECT messages.id FROM messages WHERE messages.thread_id = threads.id ORDER BY messages.seq DESC LIMIT 1)
"""
AFTER = """
UPDATE runs SET after_id = (SELECT threads.tip_id FROM threads WHERE threads.id = runs.thread_id)
WHERE status IN ('queued', 'running', 'waiting')
"""

COLUMNS = (
    ("participants", sa.Column("asked_at", sa.JSON(), nullable=True)),
    ("messages", sa.Column("parent_id", sa.Text(), nullable=True)),
    ("messages", sa.Column("parts", sa.JSON(), nullable=True)),
    ("messages", sa.Column("feedback", sa.JSON(), nullable=True)),
    ("threads", sa.Column("tip_id", sa.Text(), nullable=True)),
    ("runs", sa.Column("after_id", sa.Text(), nullable=True)),
    ("runs", sa.Column("late_after_ms", sa.BigInteger(), nullable=True)),
    ("runs", sa.Column("usual_ms", sa.BigInteger(), nullable=True)),
    ("runs", sa.Column("late_at", sa.Double(), nullable=True)),
    ("runs", sa.Column("tokens", sa.BigInteger(), nullable=True)),
    ("agents", sa.Column("kind", sa.Text(), nullable=False, server_default="webhook")),
    ("outbox", sa.Column("kind", sa.Text(), nullable=False, server_default="ask")),
)


def upgrade() -> None:
    op.create_table(
        "drafts",
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("gen", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("writer", sa.Text(), nullable=True),
        sa.Column("ahead", sa.JSON(), nullable=True),
        sa.Column("said_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_drafts_run_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", name="pk_drafts"),
    )
    op.create_table(
        "usage",
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_usage_tenant_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tenant_id", "day", name="pk_usage"),
    )
    for table, column in COLUMNS:
        op.add_column(table, column)
    op.create_index("ix_messages_thread_id_parent_id", "messages", ["thread_id", "parent_id"])
    for statement in (FOLLOW, TIPS, AFTER):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DELETE FROM outbox WHERE kind = 'cancel'")  # which would be asked again
    op.drop_index("ix_messages_thread_id_parent_id", "messages")
    for table, column in reversed(COLUMNS):
        op.drop_column(table, column.name)
    op.drop_table("usage")
    op.drop_table("drafts")
