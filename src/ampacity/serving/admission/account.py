"""What a key, or all keys of a project together, have used, held against their limits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ampacity.model.access import Budget, BudgetPeriod, Limits

from .bucket import Bucket
from .verdict import Refused

CONCURRENCY_RETRY_S = 1.0
NO_LIMITS = Limits()


class Account:
    """``who`` is how messages call it: ``the key 'alice'``, ``the project 'research'``.

    ``now`` is of a steady clock, ``wall`` in seconds since the epoch: budgets go by the calendar.
    """

    __slots__ = ("_period_ends", "_requests", "_tokens", "in_flight", "limits", "spent", "who")

    def __init__(self, who: str, limits: Limits, now: float) -> None:
        self.who, self.limits = who, NO_LIMITS
        self.in_flight = 0
        self.spent = 0.0
        self._period_ends = 0.0
        self._requests: Bucket | None = None
        self._tokens: Bucket | None = None
        self.set_limits(limits, now)

    def set_limits(self, limits: Limits, now: float) -> None:
        self._requests = _resized(self._requests, limits.requests_per_minute, now)
        self._tokens = _resized(self._tokens, limits.tokens_per_minute, now)
        if (limits.budget is None) != (self.limits.budget is None) or (
            limits.budget is not None
            and self.limits.budget is not None
            and limits.budget.period is not self.limits.budget.period
        ):
            self.spent, self._period_ends = 0.0, 0.0
        self.limits = limits

    def refusal(self, tokens: int, now: float, wall: float, *, despite_budget: bool = False) -> Refused | None:
        """Why it may not use so many tokens now; ``None`` = it may."""
        limits = self.limits
        if limits is NO_LIMITS:
            return None
        if limits.budget is not None and not despite_budget and self._spent(wall) >= limits.budget.amount:
            return self._over_budget(limits.budget, wall)
        if limits.concurrency is not None and self.in_flight >= limits.concurrency:
            message = f"{self.who} may have {limits.concurrency} requests under way, and has."
            return _limited("concurrency_limit_exceeded", message, CONCURRENCY_RETRY_S)
        if self._requests is not None and (wait_s := self._requests.wait_s(1, now)) > 0:
            message = f"{self.who} may make {limits.requests_per_minute} requests a minute, and has made them."
            return _limited("rate_limit_exceeded", message, wait_s)
        if self._tokens is not None and (wait_s := self._tokens.wait_s(tokens, now)) > 0:
            message = f"{self.who} may use {limits.tokens_per_minute} tokens a minute; {tokens} more are too many now."
            return _limited("rate_limit_exceeded", message, wait_s)
        return None

    def take(self, tokens: int, now: float) -> None:
        """A request comes in; so many tokens are reserved for it."""
        self.in_flight += 1
        if self._requests is not None:
            self._requests.take(1, now)
        if self._tokens is not None:
            self._tokens.take(tokens, now)

    def give_back(self, reserved: int, used: int, now: float) -> None:
        """The request has ended; it used so many tokens."""
        self.in_flight -= 1
        if self._tokens is not None and used != reserved:
            self._tokens.take(used - reserved, now)

    def undo(self, reserved: int, now: float) -> None:
        """The request was not served after all: it counts for nothing."""
        self.give_back(reserved, 0, now)
        if self._requests is not None:
            self._requests.take(-1, now)

    def spend(self, money: float, wall: float) -> None:
        self.spent = self._spent(wall) + money

    def set_spent(self, money: float, wall: float) -> None:
        """What the books say was spent in this period. They lag: less than is known here changes nothing."""
        self.spent = max(self._spent(wall), money)

    def _spent(self, wall: float) -> float:
        """What was spent in the period that this time lies in."""
        budget = self.limits.budget
        if budget is None or wall < self._period_ends:
            return self.spent
        if self._period_ends:
            self.spent = 0.0
        self._period_ends = period_end(budget.period, wall)
        return self.spent

    def _over_budget(self, budget: Budget, wall: float) -> Refused:
        ends = period_end(budget.period, wall)
        when = (
            ""
            if ends == float("inf")
            else f" It begins anew at {datetime.fromtimestamp(ends, UTC):%Y-%m-%d %H:%M} UTC."
        )
        message = f"{self.who} has spent its budget of {budget.amount:g}.{when}"
        return _limited("insufficient_quota", message, None if ends == float("inf") else ends - wall)


def period_start(period: BudgetPeriod, wall: float) -> float:
    """When the period that this time lies in began, in UTC. Seconds since the epoch."""
    at = datetime.fromtimestamp(wall, UTC)
    match period:
        case BudgetPeriod.TOTAL:
            return 0.0
        case BudgetPeriod.DAY:
            return at.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
        case BudgetPeriod.MONTH:
            return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()


def period_end(period: BudgetPeriod, wall: float) -> float:
    """When the next period begins; infinity = never."""
    start = datetime.fromtimestamp(period_start(period, wall), UTC)
    match period:
        case BudgetPeriod.TOTAL:
            return float("inf")
        case BudgetPeriod.DAY:
            return (start + timedelta(days=1)).timestamp()
        case BudgetPeriod.MONTH:
            return (start + timedelta(days=32)).replace(day=1).timestamp()


def _resized(bucket: Bucket | None, per_minute: int | None, now: float) -> Bucket | None:
    if per_minute is None:
        return None
    if bucket is None:
        return Bucket(per_minute, now)
    if bucket.per_minute != per_minute:
        bucket.resize(per_minute, now)
    return bucket


def _limited(code: str, message: str, wait_s: float | None) -> Refused:
    return Refused(status=429, code=code, message=message[0].upper() + message[1:], retry_after_s=wait_s)
