"""What the operator decides for each model about those who come when there is not enough for all."""

from __future__ import annotations

from dataclasses import dataclass

from ampacity.model.service_terms import BrownOut


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionPolicy:
    """``room``: so many requests of the model are let in at once; ``None`` = all. ``max_wait_s``: who would wait longer
    is refused at once."""

    room: int | None = None
    max_wait_s: float = 30.0
    brown_out: BrownOut | None = None
