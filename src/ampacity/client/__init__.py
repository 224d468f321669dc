"""Talk to a control plane: :class:`Client`. Importing this is cheap; the HTTP library is loaded by the first call."""

from __future__ import annotations

from .client import Client
from .locate import Endpoint, locate, state_folder

__all__ = ["Client", "Endpoint", "locate", "state_folder"]
