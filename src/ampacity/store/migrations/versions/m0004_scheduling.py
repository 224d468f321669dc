"""The scheduler's settings, who has used how much, and how long jobs took."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("policies", "usage", "runtimes"):
        op.create_table(
            name,
            sa.Column("key", sa.String, primary_key=True),
            sa.Column("version", sa.Integer, nullable=False),
            sa.Column("body", sa.LargeBinary, nullable=False),
        )


def downgrade() -> None:
    raise NotImplementedError("a store is not taken back to an older release; restore a backup")
