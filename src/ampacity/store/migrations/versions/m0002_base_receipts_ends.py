"""The base that compaction folds old events into, receipts of writes, when workloads ended, and numbered marks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    op.create_table(
        "base",
        sa.Column("of", sa.String, primary_key=True),
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "receipts",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("answer", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_receipts_at", "receipts", ["at"])
    op.create_table(
        "marks",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_workloads_page", "workloads", ["project", "created_at", "key"])
    op.add_column("workloads", sa.Column("ended_at", sa.Float))
    ended = sa.text("ended_at IS NOT NULL")
    op.create_index("ix_workloads_ended", "workloads", ["ended_at"], sqlite_where=ended, postgresql_where=ended)
    if on_sqlite:  # a store in PostgreSQL begins with this release
        op.execute("UPDATE workloads SET ended_at = json_extract(CAST(body AS TEXT), '$.ended_at') WHERE ended = 1")
    op.execute("INSERT INTO marks (name, value) SELECT 'seq', COALESCE(MAX(seq), 0) FROM events")
    op.execute("INSERT INTO marks (name, value) VALUES ('compacted', 0)")


def downgrade() -> None:
    raise NotImplementedError("a store is not taken back to an older release; restore a backup")
