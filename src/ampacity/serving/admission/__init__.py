"""Admission: who may come in, how much they may use, and whose turn it is. Pure, and clocked from outside."""

from __future__ import annotations

from .access import Doorkeeper
from .admission import Admission
from .model_line import Ending
from .policy import AdmissionPolicy
from .verdict import GO, HELD, Entry, Go, Held, Refused, Verdict

__all__ = [
    "GO",
    "HELD",
    "Admission",
    "AdmissionPolicy",
    "Doorkeeper",
    "Ending",
    "Entry",
    "Go",
    "Held",
    "Refused",
    "Verdict",
]
