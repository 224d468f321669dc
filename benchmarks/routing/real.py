"""Real engines behind the real gateway: conversations of several turns, each with the answers that were given."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from reporting import Figures

from ampacity.serving.table import ModelRoute, ReplicaRoute, RoutingTable, write_table

ENGINES = 4
POLICIES = ("round_robin", "least_loaded", "prefix")
CACHE_TOKENS = 12_288
SYSTEM_BYTES, TURN_BYTES = 1200, (600, 3000)
MORE_TURNS = 0.75
PAUSE_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """A conversation: when it begins, what the user says each turn, and how long he thinks before the next."""

    at_s: float
    turns: list[str]
    pauses_s: list[float]


@dataclass
class Seen:
    """What one policy gave."""

    ttft_s: list[float] = field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0

    @property
    def mean_ms(self) -> float:
        return 1000 * sum(self.ttft_s) / len(self.ttft_s)

    def quantile_ms(self, share: float) -> float:
        ordered = sorted(self.ttft_s)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @property
    def cached_percent(self) -> float:
        return 100 * self.cached_tokens / max(1, self.prompt_tokens)


def measure(figures: Figures, *, quick: bool, seed: int) -> None:
    """Every policy gets the same conversations at the same times, on engines whose caches are empty; in turns."""
    seconds, rounds, rate = (12.0, 1, 0.6) if quick else (20.0, 1, 0.6)
    seen = {policy: Seen() for policy in POLICIES}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="routing-")))
        ports = [stack.enter_context(engine()) for _ in range(ENGINES)]
        write_table(folder / "table.json", table_of(ports))
        for turn in range(rounds):
            talks = drawn(random.Random(seed + turn), seconds, rate)
            for policy in POLICIES[turn % 3 :] + POLICIES[: turn % 3]:
                for port in ports:
                    httpx.post(f"http://127.0.0.1:{port}/reset").raise_for_status()
                with gateway(folder, policy) as url:
                    asyncio.run(replay(url, talks, seen[policy]))
                print(f" round {turn + 1}, {policy}: {len(seen[policy].ttft_s)} requests so far", flush=True)
    for policy, found in seen.items():
        tell(figures, policy, found)
    for policy in ("round_robin", "least_loaded"):
        figures.add(f"real_ttft_vs_{policy}", seen["prefix"].mean_ms / seen[policy].mean_ms, "< 1")


def tell(figures: Figures, policy: str, found: Seen) -> None:
    print(f" {policy}: {len(found.ttft_s)} requests, {found.prompt_tokens:,} tokens")
    figures.add(f"real_ttft_mean_ms_{policy}", found.mean_ms)
    figures.add(f"real_ttft_p90_ms_{policy}", found.quantile_ms(0.9))
    figures.add(f"real_cached_percent_{policy}", found.cached_percent)


def drawn(draw: random.Random, seconds: float, rate: float) -> list[Talk]:
    talks, at_s = [], draw.expovariate(rate)
    while at_s < seconds:
        turns = [words(draw, draw.randint(*TURN_BYTES))]
        while draw.random() < MORE_TURNS:
            turns.append(words(draw, draw.randint(*TURN_BYTES) // 2))
        talks.append(Talk(at_s=at_s, turns=turns, pauses_s=[draw.expovariate(1 / PAUSE_S) for _ in turns]))
        at_s += draw.expovariate(rate)
    return talks


def words(draw: random.Random, count: int) -> str:
    return "".join(draw.choice("abcdefghij klmnop") for _ in range(count))


SYSTEM = words(random.Random(1), SYSTEM_BYTES)


async def replay(url: str, talks: list[Talk], seen: Seen) -> None:
    began = time.monotonic()
    async with httpx.AsyncClient(base_url=url, timeout=300) as client, asyncio.TaskGroup() as group:
        for talk in talks:
            group.create_task(hold(client, talk, began, seen))


async def hold(client: httpx.AsyncClient, talk: Talk, began: float, seen: Seen) -> None:
    await asyncio.sleep(max(0.0, began + talk.at_s - time.monotonic()))
    messages = [{"role": "system", "content": SYSTEM}]
    for said, pause_s in zip(talk.turns, talk.pauses_s, strict=True):
        messages.append({"role": "user", "content": said})
        messages.append({"role": "assistant", "content": await ask(client, messages, seen)})
        await asyncio.sleep(pause_s)


async def ask(client: httpx.AsyncClient, messages: list[dict[str, str]], seen: Seen) -> str:
    """The answer's text. What it took to begin, and what was cached, is noted."""
    body = {"model": "tiny", "messages": messages, "stream": True, "max_tokens": 8}
    body["stream_options"] = {"include_usage": True}
    asked, heard, text = time.monotonic(), 0.0, ""
    async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            heard = heard or time.monotonic()
            event = json.loads(line[6:])
            text += "".join(choice["delta"].get("content", "") for choice in event["choices"])
            if event.get("usage"):
                seen.prompt_tokens += event["usage"]["prompt_tokens"]
                seen.cached_tokens += event["usage"]["prompt_tokens_details"]["cached_tokens"]
    seen.ttft_s.append(heard - asked)
    return text


def table_of(ports: list[int]) -> RoutingTable:
    replicas = tuple(ReplicaRoute(id=f"engine-{port}", url=f"http://127.0.0.1:{port}") for port in ports)
    return RoutingTable(version=1, models=(ModelRoute(name="tiny", workload="t", upstream="tiny", replicas=replicas),))


@contextlib.contextmanager
def engine() -> Iterator[int]:
    port = free_port()
    command = [sys.executable, str(Path(__file__).parent / "engine.py"), "--port", str(port)]
    with running([*command, "--cache-tokens", str(CACHE_TOKENS)], f"http://127.0.0.1:{port}/health"):
        yield port


@contextlib.contextmanager
def gateway(folder: Path, policy: str) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "ampacity.serving.gateway", "--port", str(port), "--router", policy]
    with running([*command, "--table", str(folder / "table.json")], f"http://127.0.0.1:{port}/health"):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def running(command: list[str], health: str, limit_s: float = 120.0) -> Iterator[None]:
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + limit_s
        while not answers(health):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"it did not start: {' '.join(command)}")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
