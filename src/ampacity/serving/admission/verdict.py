"""What admission is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ampacity.model.access import ApiKey
from ampacity.model.ids import DEFAULT_PROJECT, Project

if TYPE_CHECKING:
    from .account import Account


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """It is not let in: the HTTP status, OpenAI's code for it, and one sentence or two for people.

    ``retry_after_s``: when it may be worth asking again; ``None`` = not by waiting.
    """

    status: int
    code: str
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """It is let in. In a brown-out with fewer tokens than it asked for (``max_tokens``), or to another ``model``."""

    max_tokens: int | None = None
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """It stands in line, and comes by ``released``."""


GO = Go()
HELD = Held()
Verdict = Go | Held | Refused


class Entry:
    """One request as admission sees it; made once a request, so a plain class with slots.

    ``tokens``: the prompt's estimated length. ``max_tokens``: the most that the answer may have; ``None`` = not said.
    ``deadline``: when its answer is of no use any more, in seconds of admission's clock.
    ``despite_budget``: a budget that is spent does not keep it out; what it costs is added to what was spent.

    The rest is admission's own: what was reserved for it, and since when it is let in or has left the line.
    """

    __slots__ = (
        "accounts",
        "arrived",
        "cost",
        "deadline",
        "despite_budget",
        "id",
        "key",
        "left",
        "max_tokens",
        "model",
        "tokens",
        "verdict",
        "went",
    )

    def __init__(
        self,
        id: int,
        model: str,
        *,
        arrived: float,
        tokens: int,
        key: ApiKey | None = None,
        max_tokens: int | None = None,
        deadline: float | None = None,
        despite_budget: bool = False,
    ) -> None:
        self.id, self.model, self.key = id, model, key
        self.arrived, self.tokens, self.max_tokens, self.deadline = arrived, tokens, max_tokens, deadline
        self.despite_budget = despite_budget
        self.cost = 0
        self.accounts: tuple[Account, ...] = ()
        self.went: float | None = None
        self.left = False
        self.verdict = GO

    @property
    def project(self) -> Project:
        return DEFAULT_PROJECT if self.key is None else self.key.project

    @property
    def priority(self) -> int:
        return 0 if self.key is None else self.key.priority
