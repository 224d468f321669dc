"""The brain of the one dispatcher for all models: admission's line in front of the routers."""

from __future__ import annotations

from .dispatcher import Dispatcher
from .request import Answer, Lane, Request, RequestId, Send

__all__ = ["Answer", "Dispatcher", "Lane", "Request", "RequestId", "Send"]
