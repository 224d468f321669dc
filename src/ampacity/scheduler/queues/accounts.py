"""Who has used how much lately: what ended attempts left in the rows, and what runs, both faded with time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import fsum

from ampacity.model.attempt import Attempt
from ampacity.model.history import Usage, account_key, usage_rate, used_since
from ampacity.model.ids import AttemptId
from ampacity.model.policy import SchedulerPolicy

from .shares import Shares

TICK_S = 60.0
"""Usage is looked at as of the last whole tick: who is next does not change with every second."""


@dataclass(slots=True)
class Accounts:
    """The live attempts of each account, by when they were placed. ``stamp``: by queue, another number after each
    change."""

    placed: dict[str, dict[AttemptId, float]] = field(default_factory=dict)
    stamps: dict[str, int] = field(default_factory=dict, compare=False)
    _known: dict[str, tuple[float, int, float]] = field(default_factory=dict, compare=False, repr=False)
    _of: dict[AttemptId, str] = field(default_factory=dict)

    def hold(self, attempt: Attempt) -> None:
        account = account_key(attempt.queue, attempt.project, attempt.owner)
        self._of[attempt.id] = account
        self.placed.setdefault(account, {})[attempt.id] = attempt.placed_at
        self.change(attempt.queue)

    def release(self, attempt: Attempt) -> None:
        account = self._of.pop(attempt.id)
        held = self.placed[account]
        del held[attempt.id]
        if not held:
            del self.placed[account]
        self.change(attempt.queue)

    def change(self, queue: str) -> None:
        """Something else that counts for the accounts of that queue is another one now."""
        self.stamps[queue] = self.stamps.get(queue, 0) + 1

    def used(
        self, queue: str, account: str, *, at: float, policy: SchedulerPolicy, rows: Mapping[str, Usage], shares: Shares
    ) -> float:
        """What the account has used, in weighted seconds, as of that time."""
        stamp = self.stamps.get(queue, 0)
        known = self._known.get(account)
        if known is not None and known[:2] == (at, stamp):
            return known[2]
        half_life_s, weights = policy.half_life_s, policy.usage_weights
        row = rows.get(account)
        ended = 0.0 if row is None else row.faded(at, half_life_s)
        runs = (
            used_since(usage_rate(shares.of[attempt][1], weights), begun_at, at, half_life_s)
            for attempt, begun_at in self.placed.get(account, {}).items()
        )
        found = fsum((ended, *runs))  # rounded once, so that the order of the attempts makes no difference
        self._known[account] = (at, stamp, found)
        return found


def fairness(used: Mapping[str, float]) -> dict[str, float]:
    """By account, from 1 for one that has used nothing: two to the power of what it used against an equal share. Slurm's
    fair-share factor (https://slurm.schedmd.com/priority_multifactor.html), with equal shares."""
    whole = fsum(used.values())
    if not whole:
        return dict.fromkeys(used, 1.0)
    return {account: float(2.0 ** (-amount / whole * len(used))) for account, amount in used.items()}


def tick(now: float) -> float:
    return now // TICK_S * TICK_S


def waiting_accounts(owners: Iterable[Mapping[str, int]]) -> list[str]:
    """Those that somebody waits for, by name."""
    return sorted({account for each in owners for account in each})
