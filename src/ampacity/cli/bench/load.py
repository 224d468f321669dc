"""An open loop: each request is sent when its time has come, whatever became of those before."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from .arrivals import Arrival, prompt_of
from .exchange import Connections, Exchange, Target
from .outcome import Ending, Outcome

REFUSED = frozenset((429, 503))
TICK_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is asked for. ``timeout_s``: how long an answer is waited for, from the time at which it was to be sent.
    ``told_s``: how long the endpoint is told that it is waited for: it may refuse what it cannot answer in time."""

    model: str
    chat: bool = True
    stream: bool = True
    timeout_s: float = 600.0
    told_s: float | None = None
    seed: int = 0

    def body(self, arrival: Arrival, draw: random.Random) -> bytes:
        prompt = prompt_of(arrival.input_tokens, draw)
        asked: dict[str, object] = {"model": self.model, "max_tokens": max(1, arrival.output_tokens)}
        if self.chat:
            asked["messages"] = [{"role": "user", "content": prompt}]
        else:
            asked["prompt"] = prompt
        if self.stream:
            asked |= {"stream": True, "stream_options": {"include_usage": True}}
        return json.dumps(asked).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """``at_s`` since the beginning."""

    at_s: float
    sent: int
    under_way: int
    answered: int


class Load:
    """Sends arrivals to a target. ``outcomes`` come in the order in which they end."""

    def __init__(self, target: Target, ask: Ask, *, tell: Callable[[Progress], None] = lambda progress: None) -> None:
        self._target, self._ask, self._tell = target, ask, tell
        self._draw = random.Random(ask.seed)
        self._connections = Connections(target)
        self._path = "/chat/completions" if ask.chat else "/completions"
        self.outcomes: list[Outcome] = []
        self._sent = self._answered = 0

    async def run(self, arrivals: Iterable[Arrival]) -> float:
        """Send all of them and wait for their answers; how long that took, in seconds."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        under_way: set[asyncio.Task[None]] = set()
        telling = loop.create_task(self._tell_now_and_then(began, under_way))
        try:
            for arrival in arrivals:
                due = began + arrival.at
                pause_s = due - loop.time()
                if pause_s > 0:
                    await asyncio.sleep(pause_s)
                elif self._sent % 32 == 0:
                    await asyncio.sleep(0)  # those that are under way go on, however late this one is
                task = loop.create_task(self._one(arrival, due))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                self._sent += 1
            while under_way:
                await asyncio.wait(tuple(under_way))
            return loop.time() - began
        finally:
            telling.cancel()
            for task in under_way:
                task.cancel()
            self._connections.close()

    async def _one(self, arrival: Arrival, due: float) -> None:
        loop = asyncio.get_running_loop()
        body = self._ask.body(arrival, self._draw)
        sent_s = max(0.0, loop.time() - due)
        exchange: Exchange | None = None
        try:
            async with asyncio.timeout_at(due + self._ask.timeout_s):
                exchange = await self._connections.take()
                sent_s = max(0.0, loop.time() - due)
                exchange.ask(self._request(body, sent_s))
                await exchange.done
        except TimeoutError:
            outcome = Outcome(ending=Ending.LATE, sent_s=sent_s, total_s=loop.time() - due, error="no answer in time")
        except OSError as error:
            outcome = Outcome(ending=Ending.FAILED, sent_s=sent_s, total_s=loop.time() - due, error=str(error))
        else:
            outcome = outcome_of(exchange, due, sent_s)
        if exchange is not None:
            if outcome.ending is Ending.LATE:
                exchange.close()
            else:
                self._connections.give_back(exchange)
        self._answered += outcome.ending is Ending.ANSWERED
        self.outcomes.append(replace(outcome, due_s=arrival.at))

    def _request(self, body: bytes, sent_s: float) -> bytes:
        head = self._target.head(self._path, len(body))
        if self._ask.told_s is not None:
            head = head[:-2] + b"x-request-timeout: %.6f\r\n\r\n" % max(self._ask.told_s - sent_s, 0.001)
        return head + body

    async def _tell_now_and_then(self, began: float, under_way: set[asyncio.Task[None]]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_S)
            at_s = loop.time() - began
            self._tell(Progress(at_s=at_s, sent=self._sent, under_way=len(under_way), answered=self._answered))


def outcome_of(exchange: Exchange, due: float, sent_s: float) -> Outcome:
    """What an answer amounts to."""
    total_s = exchange.ended_at - due
    first_s = None if exchange.first_at is None else exchange.first_at - due
    if exchange.broken:
        return Outcome(
            ending=Ending.FAILED, sent_s=sent_s, total_s=total_s, status=exchange.status, error=exchange.broken
        )
    if exchange.status == 200:
        return Outcome(
            ending=Ending.ANSWERED,
            sent_s=sent_s,
            total_s=total_s,
            first_s=first_s,
            output_tokens=exchange.output_tokens,
            status=200,
        )
    ending = Ending.REFUSED if exchange.status in REFUSED else Ending.FAILED
    return Outcome(
        ending=ending,
        sent_s=sent_s,
        total_s=total_s,
        status=exchange.status,
        error=_message(exchange.status, exchange.body),
    )


def _message(status: int, body: bytes | bytearray) -> str:
    """What the endpoint says is wrong, without what differs from one request to the next."""
    try:
        error = json.loads(bytes(body))["error"]
        what = error.get("code") or error["message"]
    except (ValueError, KeyError, TypeError, AttributeError):
        what = "no error in OpenAI's form"
    return f"{status}: {what}"[:120]
