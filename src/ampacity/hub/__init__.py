"""The hub: models in versions, content-addressed, verified on read. ``Hub`` is the door."""

from .hub import Hub

__all__ = ["Hub"]
