"""A small OpenAI-like engine on a thread of its own: deterministic, streaming, and faulty on demand."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from dataclasses import dataclass, field
from typing import Any

WORDS = ["one ", "two ", "three ", "four"]


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class EngineDouble:
    """``fault``: ``""``, ``refuse_after_head`` (dies before its first byte), ``half_body``, ``half_stream``,
    ``freeze`` (in the middle of a stream, and its probes are left without an answer), ``garbage``, ``hang`` or
    ``error``; with ``nonsense`` it is the probes that are answered with garbage. ``gone`` counts connections that
    the other side closed in the middle, ``asked`` who wanted its ``metrics``.
    """

    name: str = "engine"
    fault: str = ""
    close_after: bool = False
    seen: list[Seen] = field(default_factory=list, repr=False)
    gone: int = 0
    frozen: bool = False
    metrics: bytes = b""
    asked: int = 0
    port: int = 0

    def __enter__(self) -> EngineDouble:
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(120)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Close the port and every connection, as a killed process does."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(120)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while (request := await _read(reader)) is not None:
                if request.method != "GET":
                    self.seen.append(request)
                if not await self._answer(request, reader, writer) or self.close_after:
                    break
        writer.transport.abort() if self.fault else writer.close()

    async def _answer(self, request: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """``False`` = close the connection."""
        if request.path == "/metrics":
            self.asked += 1
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + self.metrics)
            await writer.drain()
            return False
        if self.fault == ("nonsense" if request.method == "GET" else "garbage"):
            writer.write(b"HELLO THIS IS NOT HTTP\r\n\r\n")
            await writer.drain()
            return False
        if request.method == "GET":
            return not self.frozen and _whole(writer, 200, {"status": "ok"})
        if self.fault == "refuse_after_head":
            return False
        if self.fault == "hang":
            await reader.read()
            self.gone += 1
            return False
        if self.fault == "error":
            return _whole(writer, 500, {"error": {"message": "the engine is unwell"}})
        asked = json.loads(request.body)
        if asked.get("stream"):
            return await self._stream(asked, reader, writer)
        return await self._complete(request, asked, writer)

    async def _complete(self, request: Seen, asked: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(asked.get("pause_s", 0))
        plain = completion(request.path, asked, self.name)
        if self.fault != "half_body":
            return _whole(writer, 200, plain)
        data = json.dumps(plain).encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data))
        writer.write(data[: len(data) // 2])
        await writer.drain()
        await asyncio.sleep(0.02)
        return False

    async def _stream(self, asked: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        words = unsaid(WORDS * asked.get("repeat", 1), asked)
        for number, word in enumerate(words):
            if self.fault == "half_stream" and number == len(words) // 2:
                await writer.drain()
                await asyncio.sleep(0.02)
                return False
            if self.fault == "freeze" and number == len(words) // 2:
                self.frozen = True
                await reader.read()
                self.gone += 1
                return False
            choice = {"index": 0, "text": word, "delta": {"content": word}, "finish_reason": None}
            event = {"id": "c", "object": "chunk", "created": 1, "model": asked["model"], "choices": [choice]}
            data = b"data: " + json.dumps(event).encode() + b"\n\n"
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            try:
                await writer.drain()
            except ConnectionError:
                self.gone += 1
                raise
            await asyncio.sleep(asked.get("pause_s", 0))
        if asked.get("stream_options"):
            usage = {"prompt_tokens": 1 + len(WORDS) * asked.get("repeat", 1) - len(words)}
            usage |= {"completion_tokens": len(words), "total_tokens": usage["prompt_tokens"] + len(words)}
            data = (
                b"data: " + json.dumps({"id": "c", "object": "chunk", "choices": [], "usage": usage}).encode() + b"\n\n"
            )
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        last = b"data: [DONE]\n\n"
        writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(last), last))
        await writer.drain()
        return True


def unsaid(words: list[str], asked: dict[str, Any]) -> list[str]:
    """The words that the prompt does not end with: a deterministic engine goes on from what was said."""
    said = str(asked.get("prompt", ""))
    if asked.get("continue_final_message"):
        said = asked["messages"][-1]["content"]
    count = next((count for count in range(len(words), 0, -1) if said.endswith("".join(words[:count]))), 0)
    return words[count:]


def completion(path: str, asked: dict[str, Any], name: str) -> dict[str, Any]:
    text = "".join(WORDS)
    if path.endswith("/embeddings"):
        data: list[Any] = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
        return {
            "object": "list",
            "model": asked["model"],
            "data": data,
            "usage": {"prompt_tokens": 1, "total_tokens": 1},
        }
    choice = {"index": 0, "finish_reason": "stop", "text": text, "message": {"role": "assistant", "content": text}}
    prompt = max(1, len(str(asked.get("prompt", ""))) // 4)
    usage = {"prompt_tokens": prompt, "completion_tokens": 4, "total_tokens": prompt + 4}
    return {"id": name, "object": "x", "created": 1, "model": asked["model"], "choices": [choice], "usage": usage}


def _whole(writer: asyncio.StreamWriter, status: int, plain: object) -> bool:
    data = json.dumps(plain).encode()
    head = b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    writer.write(head % (status, len(data)) + data)
    return True


async def _read(reader: asyncio.StreamReader) -> Seen | None:
    line = await reader.readline()
    if not line:
        return None
    method, path, _ = line.decode().split(" ", 2)
    headers: dict[str, str] = {}
    while (line := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method, path, headers, body)
