"""Sums of what requests have used, by the hour."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_NAMES = ("project", "key", "model", "replica")
_COUNTS = ("requests", "failed", "input_tokens", "cached_tokens", "output_tokens", "ttft_count")
_SUMS = ("ttft_s", "total_s", "money")


def upgrade() -> None:
    op.create_table(
        "request_usage",
        sa.Column("start", sa.BigInteger, primary_key=True, autoincrement=False),
        *(sa.Column(name, sa.String, primary_key=True) for name in _NAMES),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _COUNTS),
        *(sa.Column(name, sa.Float(53), nullable=False) for name in _SUMS),
    )


def downgrade() -> None:
    raise NotImplementedError("a store is not taken back to an older release; restore a backup")
