"""A server in front of the small Llama: chats of OpenAI's API, streamed, with what was cached in the usage.

python benchmarks/routing/engine.py --port N [--cache-tokens N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from tiny_llama import BLOCK_TOKENS, Cache, Shape, TinyLlama, tokens_of


class Server:
    """One prompt at a time, in order of arrival, as small engines do it."""

    def __init__(self, cache_tokens: int) -> None:
        self._cache = Cache(cache_tokens // BLOCK_TOKENS)
        self._model = TinyLlama(Shape(), self._cache)
        self._one = ThreadPoolExecutor(1)

    async def health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def reset(self, _: Request) -> Response:
        await asyncio.get_running_loop().run_in_executor(self._one, self._cache.clear)
        return JSONResponse({})

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        text = "".join(f"{each['role']}: {each['content']}\n" for each in body["messages"])
        events = self._events(text, int(body.get("max_tokens", 8)), str(body["model"]))
        return StreamingResponse(events, media_type="text/event-stream")

    async def _events(self, text: str, most: int, model: str) -> AsyncIterator[bytes]:
        said: asyncio.Queue[tuple[int, int] | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        prompt = tokens_of(text)

        def work() -> None:
            for each in self._model.answer(prompt, most):
                loop.call_soon_threadsafe(said.put_nowait, each)
            loop.call_soon_threadsafe(said.put_nowait, None)

        working = loop.run_in_executor(self._one, work)
        count = cached = 0
        while (each := await said.get()) is not None:
            token, cached = each
            count += 1
            choice = {"index": 0, "delta": {"content": f"{token:x} "}, "finish_reason": None}
            yield event({"object": "chat.completion.chunk", "model": model, "choices": [choice]})
        await working
        usage = {
            "prompt_tokens": len(prompt),
            "completion_tokens": count,
            "total_tokens": len(prompt) + count,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        yield event({"object": "chat.completion.chunk", "model": model, "choices": [], "usage": usage})
        yield b"data: [DONE]\n\n"


def event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--cache-tokens", type=int, default=12_288)
    given = options.parse_args()
    torch.set_num_threads(1)
    server = Server(given.cache_tokens)
    routes = [
        Route("/health", server.health),
        Route("/reset", server.reset, methods=["POST"]),
        Route("/v1/chat/completions", server.chat, methods=["POST"]),
    ]
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
