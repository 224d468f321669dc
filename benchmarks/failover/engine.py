"""A deterministic engine that streams words: ``PORT=… python engine.py``, run by the platform as a service's replica.

The i-th word is a function of the question and of i alone. A request that goes on with what was said (the question,
then words) is answered from the next word on. All streams get a word each step. SIGUSR1 cuts it off from the network:
all its connections break at once, and nobody can connect, while the process lives.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import struct
from dataclasses import dataclass
from typing import Any, cast

import uvloop
from words import word

STEP_S = 0.05
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
LINGER_NOT = struct.pack("ii", 1, 0)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
HEALTHY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


@dataclass
class Stream:
    question: str
    at: int
    end: int
    said: int


class Engine:
    """All connections, and the streams on them."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self.streams: dict[asyncio.Transport, Stream] = {}

    async def run(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(self), "127.0.0.1", port, backlog=8192)
        loop.add_signal_handler(signal.SIGUSR1, self.cut_off, server)
        while True:
            await asyncio.sleep(STEP_S)
            for transport, stream in list(self.streams.items()):
                self._step(transport, stream)

    def cut_off(self, server: asyncio.AbstractServer) -> None:
        server.close()
        self.streams.clear()
        for connection in list(self.connections):
            connection.reset()

    def _step(self, transport: asyncio.Transport, stream: Stream) -> None:
        if transport.is_closing():
            del self.streams[transport]
            return
        if stream.at < stream.end:
            choice = {"index": 0, "text": word(stream.question, stream.at), "finish_reason": None}
            stream.at += 1
            stream.said += 1
            transport.write(_event({"choices": [choice]}))
            return
        del self.streams[transport]
        usage = {"prompt_tokens": stream.end - stream.said + 1, "completion_tokens": stream.said}
        last = _event({"choices": [{"index": 0, "text": "", "finish_reason": "length"}]})
        last += _event({"choices": [], "usage": {**usage, "total_tokens": sum(usage.values())}})
        transport.write(last + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


class Connection(asyncio.Protocol):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._engine.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._engine.connections.discard(self)
        self._engine.streams.pop(self._transport, None)

    def reset(self) -> None:
        """Break the connection, as a network does: no goodbye."""
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        match = LENGTH.search(self._buffer, 0, end)
        whole = end + 4 + (int(match[1]) if match else 0)
        if len(self._buffer) < whole:
            return
        request, self._buffer = self._buffer[:whole], self._buffer[whole:]
        if request.startswith(b"GET"):
            self._transport.write(HEALTHY)
            return
        asked = json.loads(request[end + 4 :])
        question, _, said = asked["prompt"].partition("?")
        begun = len(said.split())
        self._transport.write(HEAD)
        self._engine.streams[self._transport] = Stream(question, begun, begun + asked["max_tokens"], 0)


def _event(facts: dict[str, Any]) -> bytes:
    data = b"data: " + json.dumps({"id": "c", "object": "text_completion", "created": 1, **facts}).encode() + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


if __name__ == "__main__":
    uvloop.run(Engine().run(int(os.environ["PORT"])))
