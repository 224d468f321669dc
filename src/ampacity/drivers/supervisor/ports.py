"""Free ports for members, held against each other by lock files.

They lie outside the kernel's ephemeral range: an engine may take minutes until it listens, and meanwhile no outgoing
connection of the machine can take its port.
"""

from __future__ import annotations

import fcntl
import os
import socket

LOWEST = 20_000
TRIES = 200


class NoFreePort(Exception):
    """None of the tried ports was free."""


def take(folder: str) -> tuple[int, int]:
    """A port on which nobody listens, and the descriptor of its lock: the port is ours while that is open.

    Raises ``NoFreePort`` and ``OSError``.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    first, last = _range()
    start = int.from_bytes(os.urandom(4), "little")
    for step in range(TRIES):
        port = first + (start + step) % (last - first + 1)
        fd = os.open(os.path.join(folder, str(port)), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            continue
        if _is_free(port):
            return port, fd
        os.close(fd)
    raise NoFreePort(f"none of {TRIES} ports tried between {first} and {last} was free")


def _range() -> tuple[int, int]:
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            low, high = (int(part) for part in file.read().split())
    except (OSError, ValueError):
        low, high = 32_768, 60_999
    if low - LOWEST >= TRIES:
        return LOWEST, low - 1
    if 65_535 - high >= TRIES:
        return high + 1, 65_535
    return LOWEST, 65_535


def _is_free(port: int) -> bool:
    for address in ("127.0.0.1", "0.0.0.0"):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True
