"""Connections that stay within this machine."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from typing import Protocol

PLAIN = b"reno"
"""Linux always has it."""


class HasOptions(Protocol):
    def setsockopt(self, level: int, name: int, value: bytes, /) -> None: ...


def is_nearby(host: str) -> bool:
    """Whether the address is this machine's own loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def let_run(connection: HasOptions, host: str) -> None:
    """Within a machine nothing is congested: a control that paces what is sent (BBR) costs a timer for each piece, and
    now and then a pause. A listening socket hands it down to what it accepts. Where it cannot be had, nothing is lost.
    """
    if is_nearby(host) and hasattr(socket, "TCP_CONGESTION"):
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, PLAIN)
