"""The dispatcher's process: one desk for all workers, asked over a Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from time import monotonic
from typing import cast

from ampacity.serving.admission import Ending, Refused
from ampacity.serving.dispatch import Answer, Request, RequestId
from ampacity.serving.metering.spent import SpentFile
from ampacity.serving.routing.base import EngineId

from .core import Core
from .desk import Counted, OwnDesk
from .options import Options
from .process import TICK_S, asked_to_end, each, kept_going
from .reporter import heed_reports
from .tables import LOOK_EVERY_S, Tables
from .wire import Adopt, Again, Answered, Ask, Ended, Frames, FromWorker, Refuse, Sent, Withdrawn, frame, from_worker

log = logging.getLogger(__name__)

WORKER_BITS = 40
"""A request's id among all workers: the worker's number, and this many bits for its own."""


async def run_dispatcher(options: Options, path: Path) -> None:
    """Decide for all workers until SIGTERM or SIGINT, or the parent's end."""
    desk = OwnDesk()
    core = Core(Tables(options.table), options.router, desk)
    heed_reports(core, desk)
    hall = Hall(core, desk)
    path.unlink(missing_ok=True)  # one that was killed left it
    server = await asyncio.get_running_loop().create_unix_server(hall.peer, str(path))
    spent = SpentFile(options.table.parent / "spent.json", desk.set_spent)
    looks = (each(LOOK_EVERY_S, core.tables.refresh), each(LOOK_EVERY_S, spent.refresh))
    with kept_going(each(TICK_S, core.tick), *looks):
        log.info("dispatching on %s", path)
        await asked_to_end(options.parent_fd)
        server.close()
        core.fleet.close()
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


class Hall:
    """Where workers come to the desk."""

    def __init__(self, core: Core, desk: OwnDesk) -> None:
        self.core, self.desk = core, desk
        self._last = 0

    def peer(self) -> Peer:
        self._last += 1
        return Peer(self, self._last)


class Peer(asyncio.Protocol):
    """One worker. What it asked for and has not ended ends with it."""

    __slots__ = ("_frames", "_hall", "_live", "_loop", "_said", "_transport", "number")

    def __init__(self, hall: Hall, number: int) -> None:
        self._hall, self.number, self._frames = hall, number, Frames()
        self._loop = asyncio.get_running_loop()
        self._said: list[object] = []
        self._live: set[int] = set()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        now = monotonic()
        for id in list(self._live):
            self._hall.desk.withdrawn(self._among_all(id), now)
        self._live.clear()

    def data_received(self, data: bytes) -> None:
        now = monotonic()
        for lot in self._frames.feed(data):
            for message in from_worker(lot):
                self._hear(message, now)

    def _among_all(self, id: int) -> RequestId:
        return RequestId((self.number << WORKER_BITS) | id)

    def _hear(self, message: FromWorker, now: float) -> None:
        desk, id = self._hall.desk, self._among_all(message.id)
        if isinstance(message, Ask):
            self._live.add(message.id)
            self._tell(message.id, desk.ask(self._request(id, message), _Absent(self, message.id), now))
        elif isinstance(message, Answered):
            desk.answered(id, now)
        elif isinstance(message, Ended):
            self._live.discard(message.id)
            took = Counted(
                input_tokens=message.input_tokens,
                cached_tokens=message.cached_tokens,
                output_tokens=message.output_tokens,
                money=message.money,
            )
            desk.ended(id, now, Ending(message.ending), took)
        elif isinstance(message, Again):
            if message.id in self._live:
                excluded = frozenset(EngineId(each) for each in message.excluded)
                self._tell(message.id, desk.again(id, _Absent(self, message.id), now, excluded))
        elif isinstance(message, Adopt):
            self._live.add(message.id)
            desk.adopt(self._request(id, message.ask), EngineId(message.engine), now, answered=message.answered)
        elif isinstance(message, Withdrawn):
            self._live.discard(message.id)
            desk.withdrawn(id, now)

    def _request(self, id: RequestId, asked: Ask) -> Request:
        return Request(
            id,
            asked.model,
            arrived=asked.arrived,
            tokens=asked.tokens,
            blocks=asked.blocks,
            session=asked.session,
            key=self._hall.core.tables.key(asked.key) if asked.key else None,
            max_tokens=asked.max_tokens,
            deadline=asked.deadline,
            streams=asked.streams,
            despite_budget=asked.despite_budget,
        )

    def _tell(self, id: int, answer: Answer | None) -> None:
        if answer is None:
            return
        if isinstance(answer, Refused):
            self._live.discard(id)
            self._say(Refuse(id, answer.status, answer.code, answer.message, answer.retry_after_s))
        else:
            self._say(Sent(id, answer.engine, answer.max_tokens, answer.model))

    def _say(self, message: object) -> None:
        if not self._said:
            self._loop.call_soon(self._flush)
        self._said.append(message)

    def _flush(self) -> None:
        said, self._said = self._said, []
        if self._transport is not None:
            self._transport.write(frame(said))

    def decided(self, id: int, answer: Answer) -> None:
        self._tell(id, answer)


class _Absent:
    """A request that waits at the desk for its worker. Fulfils :class:`ampacity.serving.gateway.desk.Waiting`."""

    __slots__ = ("_id", "_peer")

    def __init__(self, peer: Peer, id: int) -> None:
        self._peer, self._id = peer, id

    def decided(self, answer: Answer) -> None:
        self._peer.decided(self._id, answer)
