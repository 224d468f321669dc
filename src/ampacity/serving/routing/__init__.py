"""Routing policies by name: pure, and clocked from outside. A new one is a module and a line here."""

from __future__ import annotations

from .base import Load, Router
from .least_loaded import LeastLoaded

ROUTERS: dict[str, type[Router]] = {"least_loaded": LeastLoaded}

__all__ = ["ROUTERS", "LeastLoaded", "Load", "Router"]
