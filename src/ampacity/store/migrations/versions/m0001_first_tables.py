"""The first tables: rows by kind, events, cursors."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_OF_WORKLOAD = ("specs", "desired", "replicas", "attempts")
_BARE = ("nodes", "pools", "queues")


def upgrade() -> None:
    op.create_table(
        "workloads",
        *_fixed(),
        sa.Column("project", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("phase", sa.String, nullable=False),
        sa.Column("ended", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    alive: dict[str, Any] = {"sqlite_where": sa.text("ended = 0"), "postgresql_where": sa.text("NOT ended")}
    op.create_index("ux_workloads_live_name", "workloads", ["project", "name"], unique=True, **alive)
    op.create_index("ix_workloads_name", "workloads", ["project", "name", "created_at"])
    op.create_index("ix_workloads_created", "workloads", ["created_at", "key"])
    op.create_index("ix_workloads_live", "workloads", ["key"], **alive)
    for name in _OF_WORKLOAD:
        op.create_table(name, *_fixed(), sa.Column("workload", sa.String, nullable=False))
        op.create_index(f"ix_{name}_workload", name, ["workload"])
    for name in _BARE:
        op.create_table(name, *_fixed())
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("workload", sa.String),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("ix_events_workload", "events", ["workload", "seq"])
    op.create_table(
        "cursors", sa.Column("source", sa.String, primary_key=True), sa.Column("cursor", sa.String, nullable=False)
    )


def downgrade() -> None:
    raise NotImplementedError("a store is not taken back to an older release; restore a backup")


def _fixed() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
