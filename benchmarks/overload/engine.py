"""An engine that takes so many requests at once and so long for each: ``python engine.py PORT CONCURRENCY SERVICE_S``.

Those that come while all its places are taken wait inside of it, first come, first served, as in a real engine's queue.
A request whose client has left while it waited is not served.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import deque
from typing import cast

import uvloop

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}
CHOICE = {"index": 0, "message": {"role": "assistant", "content": "word " * 10}, "finish_reason": "stop"}
FACTS = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "mock"}
BODY = json.dumps({**FACTS, "choices": [CHOICE], "usage": USAGE}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(BODY), BODY)
HEALTHY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Places:
    """The engine's places, and who waits for one."""

    def __init__(self, concurrency: int, service_s: float) -> None:
        self._free, self._service_s = concurrency, service_s
        self._waiting: deque[Connection] = deque()
        self._loop = asyncio.get_running_loop()

    def take(self, connection: Connection) -> None:
        if self._free:
            self._begin(connection)
        else:
            self._waiting.append(connection)

    def _begin(self, connection: Connection) -> None:
        self._free -= 1
        self._loop.call_later(self._service_s, self._end, connection)

    def _end(self, connection: Connection) -> None:
        self._free += 1
        connection.answer()
        while self._waiting and self._free:
            following = self._waiting.popleft()
            if following.there:
                self._begin(following)


class Connection(asyncio.Protocol):
    def __init__(self, places: Places) -> None:
        self._places = places
        self._received = b""
        self._transport: asyncio.Transport | None = None

    @property
    def there(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        match = LENGTH.search(self._received, 0, end + 2)
        if len(self._received) < end + 4 + (int(match[1]) if match else 0):
            return
        posted = self._received.startswith(b"POST")
        self._received = b""
        if posted:
            self._places.take(self)
        elif self._transport is not None:
            self._transport.write(HEALTHY)

    def answer(self) -> None:
        if self._transport is not None:
            self._transport.write(ANSWER)


async def main(port: int, concurrency: int, service_s: float) -> None:
    places = Places(concurrency, service_s)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(places), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
