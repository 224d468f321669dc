"""uvicorn's HTTP protocol, with the uid of a Unix socket's other end in the scope, and errors in JSON."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ampacity import __version__
from ampacity.model.codec import encode
from ampacity.model.errors import BadRequest

from .edge import PEER, TAKEOVER
from .frames import UPGRADE
from .wire import VERSION_HEADER, error_to_wire

MAX_HEAD_BYTES = 64 << 10
"""The most that a request's line and headers may take, give or take one read of the socket."""

_UCRED = struct.Struct("iII")
"""``struct ucred``: pid, uid, gid (unix(7))."""


class PeerProtocol(HttpToolsProtocol):
    """Puts ``extensions["ampacity.peer"] = {"uid": …}`` into the scope of every request on a Unix socket."""

    _peer: dict[str, int | None] | None = None
    _head_bytes = 0
    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family == socket.AF_UNIX:
            self._peer = {"uid": _uid_of_peer(sock)}

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(BadRequest(f"The headers are larger than {MAX_HEAD_BYTES >> 10} KiB.", status=431))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope["extensions"] = {} if self._peer is None else {PEER: self._peer}

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._get_upgrade() == UPGRADE.encode():
            scope: dict[str, Any] = self.scope  # type: ignore[assignment]
            scope["extensions"][TAKEOVER] = self.take_over
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def take_over(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Say ``101 Switching Protocols`` and leave the connection to the caller. Raises ``ConnectionResetError``."""
        if self.transport.is_closing():
            raise ConnectionResetError("the client has hung up")
        self._unset_keepalive_if_required()
        self.cycle.disconnected = True  # uvicorn has nothing more to send here
        self.connections.discard(self)
        reader = asyncio.StreamReader(loop=self.loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self.loop)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        self.transport.resume_reading()
        head = f"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {UPGRADE}\r\n"
        self.transport.write(f"{head}{VERSION_HEADER.lower()}: {__version__}\r\n\r\n".encode())
        return reader, asyncio.StreamWriter(self.transport, protocol, reader, self.loop)

    def _unsupported_upgrade_warning(self) -> None:
        """Ours is answered by the app, and others are none: the request is answered as if it had not asked."""

    def send_400_response(self, msg: str) -> None:
        """What uvicorn sends when the bytes are no HTTP."""
        self._refuse(BadRequest("That is not HTTP.", hint="Speak HTTP/1.1 to this socket."))

    def _refuse(self, error: BadRequest) -> None:
        body = encode({"error": error_to_wire(error)})
        head = (
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
            f"{VERSION_HEADER.lower()}: {__version__}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[error.status] + head.encode() + body)
        self.transport.close()


def _uid_of_peer(sock: Any) -> int | None:
    """``None`` where the system cannot tell: then only a token helps."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    _, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, option, _UCRED.size))
    return int(uid)
