"""What the dispatcher is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NewType

from ampacity.model.access import ApiKey
from ampacity.serving.admission import AdmissionPolicy, Refused
from ampacity.serving.routing import Engine, EngineId

RequestId = NewType("RequestId", int)


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Send it to this engine. In a brown-out with fewer tokens than it asked for, or as a request for another model."""

    engine: EngineId
    max_tokens: int | None = None
    model: str = ""


Answer = Send | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One model as the dispatcher is to treat it.

    ``room``: so many of its requests are let in at once; ``None`` = all.
    """

    model: str
    engines: tuple[Engine, ...]
    routing: str = "prefix"
    room: int | None = None
    admission: AdmissionPolicy = field(default_factory=AdmissionPolicy)


class Request:
    """One request's facts; made once a request, so a plain class with slots.

    ``tokens``: the prompt's estimated length. ``blocks``: hashes of its beginnings
    (:mod:`ampacity.serving.routing.blocks`). ``session`` 0 = none. ``deadline``: when its answer is of no use any more,
    in seconds of the dispatcher's clock.
    ``streams``: its first byte comes when its prefill is done, not with all of its answer.
    ``despite_budget``: it is let in although the money is spent.
    """

    __slots__ = (
        "arrived",
        "blocks",
        "deadline",
        "despite_budget",
        "id",
        "key",
        "max_tokens",
        "model",
        "session",
        "streams",
        "tokens",
    )

    def __init__(
        self,
        id: RequestId,
        model: str,
        *,
        arrived: float,
        tokens: int = 0,
        blocks: Sequence[int] = (),
        session: int = 0,
        key: ApiKey | None = None,
        max_tokens: int | None = None,
        deadline: float | None = None,
        streams: bool = True,
        despite_budget: bool = False,
    ) -> None:
        self.id, self.model, self.arrived, self.tokens, self.blocks = id, model, arrived, tokens, blocks
        self.session, self.key, self.max_tokens, self.deadline = session, key, max_tokens, deadline
        self.streams, self.despite_budget = streams, despite_budget
