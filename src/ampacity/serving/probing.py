"""When to probe a replica and what its answers mean. Pure: clocked from outside."""

from __future__ import annotations

from dataclasses import dataclass, replace

FIRST_INTERVAL_S = 0.1
"""At first a replica is asked often, so that readiness is seen at once; each miss stretches the pause by a half."""

STRETCH = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One probe's answer. ``refused``: nobody listens at all."""

    ok: bool
    refused: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What is known of one replica. ``ready`` ``None`` = nothing has been said yet."""

    ready: bool | None = None
    misses: int = 0
    pause_s: float = FIRST_INTERVAL_S
    detail: str = ""

    def after(self, verdict: Verdict, *, interval_s: float, failures: int) -> Health:
        """The state once a probe was answered.

        A ready replica is given up after ``failures`` misses in a row, or one refusal: its port is closed.
        """
        if verdict.ok:
            return Health(ready=True, pause_s=interval_s)
        misses = self.misses + 1
        if self.ready:
            gone = verdict.refused or misses >= failures
            return replace(self, ready=not gone, misses=misses, pause_s=min(interval_s, 0.2), detail=verdict.detail)
        return Health(
            ready=False, misses=misses, pause_s=min(interval_s, self.pause_s * STRETCH), detail=verdict.detail
        )
