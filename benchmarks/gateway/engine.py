"""An engine that costs next to nothing: ``python engine.py PORT``. It answers any chat request with fixed bytes.

Not streaming: 300 bytes at once. With ``"stream": true``: 50 chunks at once, or, where the prompt says ``[paced]``
(what else a request has, a router may leave out), 50 chunks 2 ms apart, all in step, as a real engine's steps are.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from typing import cast

import uvloop

STEP_S = 0.002
CHUNKS = 50
LENGTHS = (b"\r\ncontent-length: ", b"\r\nContent-Length: ")
"""As those write it who are measured here."""


def _json(plain: object) -> bytes:
    return json.dumps(plain, separators=(",", ":")).encode()


def _whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _event(delta: dict[str, str], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    facts = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "mock", "choices": [choice]}
    return _chunk(b"data: " + _json(facts) + b"\n\n")


USAGE = {"prompt_tokens": 20, "completion_tokens": CHUNKS, "total_tokens": 20 + CHUNKS}
MESSAGE = {"role": "assistant", "content": "word " * 10}
ANSWER = _whole(
    _json(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "mock",
            "choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}],
            "usage": USAGE,
        }
    )
)
HEALTHY = _whole(_json({"status": "ok", "model_path": "mock", "object": "list", "data": [{"id": "mock"}]}))
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PIECE = _event({"content": "word "}, None)
LAST = _event({}, "stop") + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"
BURST = STREAM_HEAD + PIECE * (CHUNKS - 1) + LAST


class Steps:
    """All streams under way: a chunk each, every step."""

    def __init__(self) -> None:
        self.left: dict[asyncio.Transport, int] = {}
        self._loop = asyncio.get_running_loop()
        self._ticking = False

    def add(self, transport: asyncio.Transport) -> None:
        self.left[transport] = CHUNKS - 1
        transport.write(STREAM_HEAD)
        if not self._ticking:
            self._ticking = True
            self._loop.call_later(STEP_S, self._step)

    def _step(self) -> None:
        for transport, left in list(self.left.items()):
            if transport.is_closing():
                del self.left[transport]
            elif left:
                transport.write(PIECE)
                self.left[transport] = left - 1
            else:
                transport.write(LAST)
                del self.left[transport]
        self._ticking = bool(self.left)
        if self._ticking:
            self._loop.call_later(STEP_S, self._step)


def _length(data: bytes, end: int) -> int:
    """What the head says of the body's length."""
    for name in LENGTHS:
        at = data.find(name, 0, end)
        if at >= 0:
            return int(data[at + len(name) : data.find(b"\r", at + len(name))])
    return 0


class Engine(asyncio.Protocol):
    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._write = self._transport.write

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            whole = end + 4 + _length(data, end)
            if len(data) == whole:
                self._answer(data)
                data = b""
                break
            if len(data) < whole:
                break
            self._answer(data[:whole])
            data = data[whole:]
        self._buffer = data

    def _answer(self, request: bytes) -> None:
        if request.startswith(b"GET"):
            self._transport.write(HEALTHY)
        elif b'"stream":' not in request or b'"stream":true' not in request.replace(b" ", b""):
            self._write(ANSWER)
        elif b"[paced]" in request:
            self._steps.add(self._transport)
        else:
            self._transport.write(BURST)


async def main(port: int) -> None:
    steps = Steps()
    gc.disable()  # nothing here is cyclic
    server = await asyncio.get_running_loop().create_server(
        lambda: Engine(steps), "127.0.0.1", port, backlog=8192, reuse_port=False
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
