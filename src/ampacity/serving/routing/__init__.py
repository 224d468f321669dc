"""Routing policies by name: pure, and clocked from outside. A new one is a module and a line here."""

from __future__ import annotations

from collections.abc import Callable

from .base import NO_ENGINES, Engine, EngineId, Report, Router, Ticket, TicketId
from .cost import PrefillCost
from .immediate import Immediate
from .least_loaded import LeastLoaded
from .prefix import Prefix, Settings
from .round_robin import RoundRobin
from .session import Session

ROUTERS: dict[str, Callable[[], Router]] = {
    "least_loaded": lambda: Immediate(LeastLoaded()),
    "prefix": Prefix,
    "round_robin": lambda: Immediate(RoundRobin()),
    "session": lambda: Immediate(Session()),
}

__all__ = [
    "NO_ENGINES",
    "ROUTERS",
    "Engine",
    "EngineId",
    "PrefillCost",
    "Prefix",
    "Report",
    "Router",
    "Settings",
    "Ticket",
    "TicketId",
]
