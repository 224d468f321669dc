"""A thousand clients, each with one stream, that hold every word against what it has to be."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, cast

from words import word

HEAD = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


@dataclass
class Told:
    """What one client got. ``port`` is its own end's."""

    question: str
    port: int = 0
    words: list[str] = field(default_factory=list)
    resumed: int = 0
    done: bool = False
    error: str = ""
    longest_pause_s: float = 0.0

    def wrong_words(self, count: int) -> int:
        """How many are missing, doubled or others."""
        expected = [word(self.question, number) for number in range(count)]
        same = sum(said == due for said, due in zip(self.words, expected, strict=False))
        return max(len(self.words), count) - same


class StreamClient(asyncio.Protocol):
    """Reads one stream. ``ended`` is set when nothing more will come."""

    def __init__(self, told: Told, tokens: int) -> None:
        self.told, self.ended = told, asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._last = self._loop.time()
        body = {"model": "double", "prompt": told.question + "?", "max_tokens": tokens, "stream": True}
        self._body = json.dumps({**body, "stream_options": {"include_usage": True}}).encode()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.told.port = transport.get_extra_info("sockname")[1]
        self._transport.write(HEAD + b"content-length: %d\r\n\r\n%s" % (len(self._body), self._body))

    def data_received(self, data: bytes) -> None:
        now = self._loop.time()
        self.told.longest_pause_s = max(self.told.longest_pause_s, now - self._last)
        self._last = now
        self._buffer += data
        while (end := self._buffer.find(b"\n\n")) >= 0:
            block, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
            self._block(block)
        if self._buffer.endswith(b"0\r\n\r\n"):
            self._finish("" if self.told.done else f"it ended without an end: {self._buffer[:200]!r}")

    def _block(self, block: bytes) -> None:
        """The head of the answer or a chunk's size may stand before the event."""
        if b"HTTP/1.1 " in block and b"HTTP/1.1 200 " not in block:
            self._finish(block[-300:].decode(errors="replace"))
            return
        data = block[block.find(b"data: ") + 6 :]
        if data == b"[DONE]":
            self.told.done = True
            return
        event: dict[str, Any] = json.loads(data)
        if "error" in event:
            self._finish(event["error"]["message"])
        self.told.words += [choice["text"] for choice in event.get("choices", ()) if choice["text"]]
        self.told.resumed += (event.get("usage") or {}).get("resumed", 0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._finish("" if self.told.done else f"the connection was closed: {exc}")

    def _finish(self, error: str) -> None:
        if not self.ended.is_set():
            self.told.error = error
            self.ended.set()
            self._transport.close()


async def stream_all(port: int, count: int, tokens: int, over_s: float, limit_s: float) -> list[Told]:
    """Start so many streams, evenly over a time, and wait for all."""
    loop = asyncio.get_running_loop()
    clients: list[StreamClient] = []
    for number in range(count):
        told = Told(question=f"question {number}")
        _, client = await loop.create_connection(lambda told=told: StreamClient(told, tokens), "127.0.0.1", port)
        clients.append(client)
        await asyncio.sleep(over_s / count)
    _, pending = await asyncio.wait([asyncio.ensure_future(each.ended.wait()) for each in clients], timeout=limit_s)
    for left in pending:
        left.cancel()
    for each in clients:
        if not each.ended.is_set():
            each.told.error = "it never ended"
    return [each.told for each in clients]
