"""How the agents of a gang speak with each other: node rank 0 listens, the others connect; one JSON object a line.

The address and a secret stand in the rendezvous file, which node rank 0 writes with mode 0600 into a folder that only
the gang's members see.
"""

from __future__ import annotations

import hmac
import json
import os
import queue
import secrets
import socket
import threading
import time
from typing import Any, Dict, Optional

from .config import Config

MEET_LIMIT_S = 1800.0
"""How long members wait for each other: their ``setup`` may take minutes longer on one node than on another."""

HELLO_LIMIT_S = 5.0
LOOK_EVERY_S = 0.05
SILENT_LIMIT_S = 60
"""A peer whose machine no longer answers is given up after this time. The kernel asks for it."""

Message = Dict[str, Any]


class Inbox:
    """Everything that an agent reacts to, in one queue: messages with the node rank that they came from."""

    def __init__(self) -> None:
        # Signal handlers put as well: SimpleQueue is the one whose put may interrupt a get in the same thread.
        self._queue: "queue.SimpleQueue[tuple[int, Message]]" = queue.SimpleQueue()

    def put(self, sender: int, message: Message) -> None:
        self._queue.put((sender, message))

    def get(self) -> "tuple[int, Message]":
        return self._queue.get()


class NotWanted(Exception):
    """The member was told to end while the gang was still meeting."""


class Wanted:
    """Whether the member shall still run. Cleared by a signal handler."""

    def __init__(self) -> None:
        self.still = True

    def check(self) -> None:
        """Raises ``NotWanted``."""
        if not self.still:
            raise NotWanted


class Wire:
    """One connection: sends lines, and puts the lines that come into the inbox. Its loss comes as ``lost``."""

    def __init__(self, connection: socket.socket, peer: int, inbox: Inbox, rest: bytes = b"") -> None:
        self._connection, self._peer, self._inbox = connection, peer, inbox
        self._lock = threading.Lock()
        _notice_silence(connection)
        threading.Thread(target=self._read, args=(rest,), daemon=True, name=f"wire-{peer}").start()

    def send(self, message: Message) -> None:
        try:
            with self._lock:
                self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            pass  # the reading thread reports the loss

    def _read(self, rest: bytes) -> None:
        buffer = rest
        while True:
            line, mark, remainder = buffer.partition(b"\n")
            try:
                if mark:
                    buffer = remainder
                    self._inbox.put(self._peer, json.loads(line))
                    continue
                data = self._connection.recv(65536)
            except (OSError, ValueError):
                data = b""
            if not data:
                self._inbox.put(self._peer, {"type": "lost"})
                return
            buffer += data


def _notice_silence(connection: socket.socket) -> None:
    """Have the kernel end the connection when the other machine is gone without a word."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", SILENT_LIMIT_S // 2),
        ("TCP_KEEPINTVL", SILENT_LIMIT_S // 6),
        ("TCP_KEEPCNT", 3),
    ):
        connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, "TCP_USER_TIMEOUT", 18), SILENT_LIMIT_S * 1000)


def host_gang(config: Config, inbox: Inbox, wanted: Wanted) -> "dict[int, Wire]":
    """As node rank 0: wait for all the others. Raises ``TimeoutError``, ``NotWanted``."""
    if config.nnodes == 1:
        return {}
    secret = secrets.token_hex(16)
    with _listen(config.master_addr) as listener:
        listener.settimeout(LOOK_EVERY_S)
        _announce(config, listener.getsockname()[1], secret)
        wires: "dict[int, Wire]" = {}
        deadline = time.monotonic() + MEET_LIMIT_S
        while len(wires) < config.nnodes - 1:
            wanted.check()
            if time.monotonic() > deadline:
                missing = sorted(set(range(1, config.nnodes)) - set(wires))
                raise TimeoutError(f"node ranks {missing} did not come within {MEET_LIMIT_S:.0f} s")
            try:
                connection, _ = listener.accept()
            except OSError:
                continue
            joined = _greet(connection, secret, inbox, config.nnodes)
            if joined is not None:
                wires[joined[0]] = joined[1]
        return wires


def _listen(address: str) -> socket.socket:
    """On loopback only where the others come by loopback; else on every address of this node. Raises ``OSError``."""
    if address == "localhost" or address.startswith("127."):
        return socket.create_server((address, 0))
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", 0))


def _announce(config: Config, port: int, secret: str) -> None:
    path = config.rendezvous
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    fresh = f"{path}.{os.getpid()}"
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump({"address": config.master_addr, "port": port, "secret": secret}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def _greet(connection: socket.socket, secret: str, inbox: Inbox, nnodes: int) -> "Optional[tuple[int, Wire]]":
    """A member of the gang says its rank and the secret; all others are sent away."""
    deadline = time.monotonic() + HELLO_LIMIT_S
    buffer = b""
    try:
        while b"\n" not in buffer and len(buffer) < 4096:
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            data = connection.recv(4096)
            if not data:
                break
            buffer += data
        line, _, rest = buffer.partition(b"\n")
        hello = json.loads(line)
        node_rank = int(hello["node_rank"])
        known = hmac.compare_digest(str(hello["secret"]), secret) and 0 < node_rank < nnodes
    except (OSError, ValueError, KeyError, TypeError):
        known = False
    if not known:
        connection.close()
        return None
    connection.settimeout(None)
    return node_rank, Wire(connection, node_rank, inbox, rest)


def join_gang(config: Config, inbox: Inbox, wanted: Wanted) -> Wire:
    """As another node: find node rank 0 and connect. Raises ``TimeoutError``, ``NotWanted``."""
    deadline = time.monotonic() + MEET_LIMIT_S
    while time.monotonic() < deadline:
        wanted.check()
        try:
            with open(config.rendezvous, encoding="utf-8") as file:
                place = json.load(file)
            connection = socket.create_connection((place["address"], place["port"]), timeout=HELLO_LIMIT_S)
        except (OSError, ValueError):
            time.sleep(LOOK_EVERY_S)
            continue
        connection.settimeout(None)
        wire = Wire(connection, 0, inbox)
        wire.send({"node_rank": config.node_rank, "secret": place["secret"]})
        return wire
    raise TimeoutError(f"node rank 0 was not found within {MEET_LIMIT_S:.0f} s")


def free_port() -> int:
    """A TCP port that is free on this node now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
