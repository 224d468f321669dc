"""Who may use the endpoint, and how much: API keys, their limits, and those of whole projects."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

from .ids import DEFAULT_OWNER, DEFAULT_PROJECT, KeyId, Owner, Project

KEY_PREFIX = "amp-"
"""What a key begins with, so that tools that look for leaked secrets can find it."""


class BudgetPeriod(StrEnum):
    """When a budget begins anew, in UTC: never, at midnight, or on the first of the month."""

    TOTAL = "total"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much money may be spent in a period. ``amount`` in the currency of the models' prices."""

    amount: float
    period: BudgetPeriod = BudgetPeriod.TOTAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may be used at most; ``None`` = no limit. Tokens are those of prompts and answers together."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None
    budget: Budget | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it is kept: never the key itself, but the SHA-256 of it (it is random, so that is enough).

    ``shown`` is its end, for people to tell keys apart. No ``models`` = all of them. A higher ``priority`` goes first.
    Times in seconds since the epoch.
    """

    id: KeyId
    name: str
    digest: str
    shown: str = ""
    project: Project = DEFAULT_PROJECT
    owner: Owner = DEFAULT_OWNER
    models: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    priority: int = 0
    created_at: float = 0.0
    created_by: str = ""
    expires_at: float | None = None
    revoked_at: float | None = None
    version: int = 1

    def usable(self, now: float) -> bool:
        """Whether it has been neither revoked nor overtaken by time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectLimits:
    """What all keys of a project may use together. ``weight``: its share where there is not enough for all."""

    project: Project
    limits: Limits = field(default_factory=Limits)
    weight: float = 1.0
    version: int = 1


def digest_of(key: str) -> str:
    """What is kept of a key, in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


def key_id(digest: str) -> KeyId:
    """A key's name for programs: it follows from the digest, so that the same key is never made twice."""
    return KeyId(f"k{digest[:12]}")


def limits_words(limits: Limits) -> str:
    """``60 requests/min, 20 per month``, or ``no limits``."""
    parts = [
        f"{count} {word}"
        for count, word in (
            (limits.requests_per_minute, "requests/min"),
            (limits.tokens_per_minute, "tokens/min"),
            (limits.concurrency, "at once"),
        )
        if count is not None
    ]
    if limits.budget is not None:
        period = "in total" if limits.budget.period is BudgetPeriod.TOTAL else f"a {limits.budget.period}"
        parts.append(f"budget {limits.budget.amount:g} {period}")
    return ", ".join(parts) or "no limits"
