"""The readiness prober: a source of facts beside the drivers. One thread, time limits, and never in a hurry."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ampacity.model.attempt import ReadinessChanged
from ampacity.model.ids import MemberKey

from .probing import Health, Verdict

log = logging.getLogger(__name__)

TIME_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One replica to probe: ``GET url + path`` every ``interval_s`` once it is ready.

    ``ready``: it is known to be, from before this prober: then one miss is not yet the end of that.
    """

    key: MemberKey
    url: str
    path: str = "/health"
    interval_s: float = 1.0
    failures: int = 3
    ready: bool = field(default=False, compare=False)


@dataclass(slots=True)
class _Watched:
    target: Target
    health: Health = field(default_factory=Health)
    task: asyncio.Task[None] | None = None


class Prober:
    """Probes the targets that it is told of, and reports each change of their readiness once.

    What it knows is kept in memory alone: after a restart the first probe of each replica that is not known to be ready
    is reported again.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._facts: list[ReadinessChanged] = []
        self._wake: Callable[[], None] = lambda: None
        self._watched: dict[MemberKey, _Watched] = {}
        self._told: dict[MemberKey, Target] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="prober", daemon=True)
        self._thread.start()

    def watch(self, targets: Sequence[Target]) -> None:
        """Probe these and no others."""
        told = {target.key: target for target in targets}
        if told != self._told:  # else its thread would be woken after each step
            self._told = told
            self._loop.call_soon_threadsafe(self._follow, told)

    def facts(self) -> tuple[ReadinessChanged, ...]:
        """What changed since the last call."""
        with self._lock:
            taken, self._facts = tuple(self._facts), []
            return taken

    def on_wake(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._follow, {})
        self._loop.call_soon_threadsafe(self._loop.call_later, 0.01, self._loop.stop)
        self._thread.join(timeout=5.0)
        if not self._thread.is_alive():
            self._loop.close()

    # On the loop's thread ------------------------------------------------------------------------------------------

    def _follow(self, targets: dict[MemberKey, Target]) -> None:
        for key in [key for key, watched in self._watched.items() if targets.get(key) != watched.target]:
            task = self._watched.pop(key).task
            if task is not None:
                task.cancel()
        for key, target in targets.items():
            if key not in self._watched:
                watched = self._watched[key] = _Watched(target, Health(ready=target.ready or None))
                watched.task = self._loop.create_task(self._attend(watched))

    async def _attend(self, watched: _Watched) -> None:
        target = watched.target
        while True:
            verdict = await probe(target)
            before = watched.health
            now = before.after(verdict, interval_s=target.interval_s, failures=target.failures)
            watched.health = now
            if now.ready != before.ready:
                self._report(
                    ReadinessChanged(key=target.key, at=self._clock(), ready=bool(now.ready), detail=now.detail)
                )
            await asyncio.sleep(now.pause_s)

    def _report(self, fact: ReadinessChanged) -> None:
        with self._lock:
            self._facts.append(fact)
        self._wake()


async def probe(target: Target) -> Verdict:
    """Ask once. Never raises: whatever goes wrong is a verdict."""
    host, _, port = target.url.removeprefix("http://").rstrip("/").rpartition(":")
    try:
        async with asyncio.timeout(TIME_LIMIT_S):
            status = await _get(host, int(port), target.path)
    except ConnectionRefusedError:
        return Verdict(ok=False, refused=True, detail="connection refused")
    except TimeoutError:
        return Verdict(ok=False, detail=f"no answer within {TIME_LIMIT_S:g} s")
    except (OSError, ValueError, EOFError) as error:
        return Verdict(ok=False, detail=f"{type(error).__name__}: {error}")
    if 200 <= status < 300:
        return Verdict(ok=True)
    return Verdict(ok=False, detail=f"GET {target.path} answered {status}")


async def _get(host: str, port: int, path: str) -> int:
    """The status of one GET on a connection of its own. Raises ``ValueError`` for what is no HTTP."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        line = await reader.readline()
    finally:
        writer.close()
    parts = line.split(b" ", 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
        raise ValueError(f"not an HTTP answer: {line[:40]!r}")
    return int(parts[1])
