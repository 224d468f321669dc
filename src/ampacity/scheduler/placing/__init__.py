"""Placement policies: which of the nodes that fit, and which devices there."""

from .base import Ask, Choice, Mix, PlacementPolicy, Room
from .names import PolicyName, make

__all__ = ["Ask", "Choice", "Mix", "PlacementPolicy", "PolicyName", "Room", "make"]
