"""Metering: what each request has used, written down beside the hot path and kept until it is in the books."""

from __future__ import annotations

from .meter_board import MeterBoard
from .recorder import Recorder
from .spool import Spool

__all__ = ["MeterBoard", "Recorder", "Spool"]
