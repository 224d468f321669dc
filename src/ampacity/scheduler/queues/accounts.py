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

EVERYWHERE = ""


@dataclass(slots=True)
class Accounts:
    """The live attempts of each account, by when they were placed."""

    placed: dict[str, dict[AttemptId, float]] = field(default_factory=dict)
    _of: dict[AttemptId, str] = field(default_factory=dict)
    _stamps: dict[str, int] = field(default_factory=dict, compare=False, repr=False)
    _known: dict[str, tuple[float, float]] = field(default_factory=dict, compare=False, repr=False)

    def hold(self, attempt: Attempt) -> None:
        """An attempt has its places from now on, or is counted anew."""
        self.release(attempt)
        account = account_key(attempt.queue, attempt.project, attempt.owner)
        self._of[attempt.id] = account
        self.placed.setdefault(account, {})[attempt.id] = attempt.placed_at
        self.change(attempt.queue, account)

    def __contains__(self, attempt: AttemptId) -> bool:
        return attempt in self._of

    def release(self, attempt: Attempt) -> None:
        account = self._of.pop(attempt.id, None)
        if account is None:
            return
        held = self.placed[account]
        del held[attempt.id]
        if not held:
            del self.placed[account]
        self.change(attempt.queue, account)

    def change(self, queue: str, account: str) -> None:
        """What the account has used is something else now."""
        self._known.pop(account, None)
        for name in (queue, EVERYWHERE):
            self._stamps[name] = self._stamps.get(name, 0) + 1

    def forget(self) -> None:
        """Other settings: all is counted in another way."""
        self._known.clear()
        self._stamps = {name: stamp + 1 for name, stamp in self._stamps.items()}

    def stamp(self, queue: str) -> int:
        """Another number after each change that concerns the queue; of ``EVERYWHERE`` after each."""
        return self._stamps.get(queue, 0)

    def used(
        self, account: str, *, at: float, policy: SchedulerPolicy, rows: Mapping[str, Usage], shares: Shares
    ) -> float:
        """What the account has used, in weighted seconds, as of that time."""
        known = self._known.get(account)
        if known is not None and known[0] == at:
            return known[1]
        half_life_s, weights = policy.half_life_s, policy.usage_weights
        row = rows.get(account)
        ended = 0.0 if row is None else row.faded(at, half_life_s)
        runs = (
            used_since(usage_rate(shares.of[attempt][1], weights), begun_at, at, half_life_s)
            for attempt, begun_at in self.placed.get(account, {}).items()
        )
        found = fsum((ended, *runs))  # rounded once, so that the order of the attempts makes no difference
        self._known[account] = (at, found)
        return found


def fairness(used: Mapping[str, float]) -> dict[str, float]:
    """By account, from 1 for one that has used nothing: two to the power of what it used against an equal share, which
    gives one half for just that. Slurm's fair-share factor (https://slurm.schedmd.com/priority_multifactor.html)."""
    whole = fsum(used.values())
    if not whole:
        return dict.fromkeys(used, 1.0)
    return {account: float(2.0 ** (-amount / whole * len(used))) for account, amount in used.items()}


def tick(now: float) -> float:
    return now // TICK_S * TICK_S


def waiting_accounts(owners: Iterable[Mapping[str, int]]) -> list[str]:
    """Those that somebody waits for, by name."""
    return sorted({account for each in owners for account in each})
