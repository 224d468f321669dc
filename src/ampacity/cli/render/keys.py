"""API keys: what they open and how much they may use."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from ampacity.api.answers import KeyView
from ampacity.model.access import Limits, limits_words

from .table import Column, Listing
from .units import about_duration

_COLUMNS = (
    Column("KEY", gives=True),
    Column("ENDS IN"),
    Column("OWNER", gives=True),
    Column("MODELS", gives=True),
    Column("PRIORITY", right=True),
    Column("AGE", right=True),
    Column("STATE"),
)


def keys_table(keys: Sequence[KeyView], *, now: float) -> Listing:
    """A line for each; its limits stand in a note."""
    table = Listing(_COLUMNS, note="LIMITS")
    for key in keys:
        table.add(
            Text(key.name, style="bold"),
            f"…{key.shown}" if key.shown else "",
            "" if key.owner == "default" else key.owner,
            ",".join(key.models),
            str(key.priority) if key.priority else "",
            about_duration(now - key.created_at),
            _state(key, now),
            note="" if key.limits == Limits() else limits_words(key.limits),
        )
    return table


def _state(key: KeyView, now: float) -> Text:
    if key.revoked_at is not None:
        return Text("revoked", style="red")
    if key.expires_at is None:
        return Text("")
    if now >= key.expires_at:
        return Text("expired", style="red")
    return Text(f"{about_duration(key.expires_at - now)} left")
