"""Secrets: their names, and who set them last."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from ampacity.secrets.secret import Secret

from .table import Column, Listing
from .units import about_duration

_COLUMNS = (Column("SECRET", gives=True), Column("SET", right=True), Column("BY", gives=True))


def secrets_table(secrets: Sequence[Secret], *, now: float) -> Listing:
    """A line for each."""
    table = Listing(_COLUMNS)
    for secret in secrets:
        table.add(Text(secret.name, style="bold"), f"{about_duration(now - secret.changed_at)} ago", secret.by)
    return table
