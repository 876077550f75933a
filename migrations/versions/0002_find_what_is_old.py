"""Find what is old without reading everything: what the pruner looks for."""

from alembic import op

revision = "0002"
down_revision = "0001"

INDEXES = (("deliveries", "created_at"), ("idempotency_keys", "created_at"), ("sessions", "expires_at"))


def upgrade() -> None:
    for table, column in INDEXES:
        op.create_index(f"ix_{table}_{column}", table, [column])


def downgrade() -> None:
    for table, column in INDEXES:
        op.drop_index(f"ix_{table}_{column}", table)
