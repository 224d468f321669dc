"""Asking the demo's model through the official ``openai`` client: one streamed answer, and a load of plain requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from openai import OpenAI, OpenAIError

from .findings import Answer

PROMPTS = (
    "def __init__(self",
    "import os\nimport sys\n",
    "class Error(Exception):\n",
    "    for name in ",
    "    if not isinstance(",
    "    return self.",
)


def connect(gateway_url: str) -> OpenAI:
    """A client as any user would make it. It never retries: what the gateway loses is to be seen."""
    return OpenAI(base_url=f"{gateway_url}/v1", api_key="none", max_retries=0, timeout=120.0)


def stream(client: OpenAI, model: str, prompt: str, tokens: int, show: Callable[[str], None]) -> tuple[str, float]:
    """The continuation of the prompt, shown as it comes, and the seconds until its first piece."""
    began = time.monotonic()
    first: float | None = None
    pieces: list[str] = []
    answer = client.completions.create(model=model, prompt=prompt, max_tokens=tokens, temperature=0.0, stream=True)
    for chunk in answer:
        text = chunk.choices[0].text if chunk.choices else ""
        if text:
            first = first if first is not None else time.monotonic() - began
            pieces.append(text)
            show(text)
    return "".join(pieces), first if first is not None else float("nan")


class Load:
    """A few clients that ask one after the other until they are told to stop. Bounded in time in any case."""

    def __init__(self, gateway_url: str, model: str, *, clients: int, tokens: int, limit_s: float) -> None:
        self.answers: list[Answer] = []
        self._url, self._model, self._tokens = gateway_url, model, tokens
        self._deadline = time.monotonic() + limit_s
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(index,), daemon=True) for index in range(clients)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Let every client end the request that it is in."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.answers.sort(key=lambda answer: answer.at)

    def _ask(self, index: int) -> None:
        client = connect(self._url)
        turn = index
        while not self._stop.is_set() and time.monotonic() < self._deadline:
            self.answers.append(self._one(client, PROMPTS[turn % len(PROMPTS)]))
            turn += 1

    def _one(self, client: OpenAI, prompt: str) -> Answer:
        at, began = time.time(), time.monotonic()
        try:
            answer = client.completions.create(
                model=self._model, prompt=prompt, max_tokens=self._tokens, temperature=0.0
            )
        except OpenAIError as error:
            return Answer(at=at, seconds=time.monotonic() - began, tokens=0, error=f"{type(error).__name__}: {error}")
        tokens = answer.usage.completion_tokens if answer.usage else 0
        return Answer(at=at, seconds=time.monotonic() - began, tokens=tokens)
