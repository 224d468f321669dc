"""How long something is taken to last, and what that is based on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf


class Basis(StrEnum):
    """``limit``: it is stopped then. ``learned``: from ended jobs of its kind. ``assumed``: nothing is known, and this
    is what the settings say. ``endless``: it runs until somebody stops it."""

    LIMIT = "limit"
    LEARNED = "learned"
    ASSUMED = "assumed"
    ENDLESS = "endless"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lasting:
    """``seconds`` from its start; without meaning where it is endless."""

    basis: Basis = Basis.ASSUMED
    seconds: float = 86_400.0

    @property
    def expected_s(self) -> float:
        """When what runs is taken to end."""
        return inf if self.basis is Basis.ENDLESS else self.seconds

    @property
    def bound_s(self) -> float:
        """What others may rely on: without a limit and without experience there is none."""
        return self.seconds if self.basis in (Basis.LIMIT, Basis.LEARNED) else inf


UNKNOWN = Lasting()
"""Nothing is known, and nobody said what to assume."""
