"""Admission: who may come in, how much they may use, and whose turn it is. Pure, and clocked from outside."""

from __future__ import annotations

from .access import Doorkeeper
from .verdict import Refused

__all__ = ["Doorkeeper", "Refused"]
