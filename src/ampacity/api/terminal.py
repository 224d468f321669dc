"""A terminal's connection: a command inside a job on one side, the frames of a client on the other."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any, Protocol

import msgspec

from ampacity.drivers.base import Exec, TerminalSize
from ampacity.model.errors import BadRequest, InvalidSpec, Where

from .bodies import ExecQuery, Nothing
from .endpoint import Call
from .frames import UPGRADE, Broken, Exit, Kind, Reader, Size, frame
from .wire import HEARTBEAT_S

READ_BYTES = 64 << 10
HIGH_WATER_BYTES = 1 << 20
"""When so much waits to be sent, the command's output waits too."""

ENDED_CODE = 137
"""As if it had been killed, which it was: the job ended around it."""


class Takeover(Protocol):
    """Makes the request's connection our own, with ``101 Switching Protocols``."""

    def __call__(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]: ...


async def run_terminal(call: Call[ExecQuery, Nothing], takeover: Takeover | None) -> None:
    """Start the command, take the connection over and carry what is said, until either side has ended.

    Raises what the plane raises, and ``BadRequest`` (426) for a request that asks for no upgrade: before the
    connection is taken over, so that they are answered as always.
    """
    if takeover is None:
        raise BadRequest("A terminal needs a connection of its own.", status=426, hint=f"Send `Upgrade: {UPGRADE}`.")
    query, service = call.query, call.service
    argv = _argv(query.command)
    size = TerminalSize(columns=query.columns, rows=query.rows) if query.tty else None
    command = await service.call(
        service.plane.exec, call.ref, argv, project=query.project, replica=query.replica, member=query.member,
        terminal=size, by=call.principal.name,
    )  # fmt: skip
    session: _Session | None = None
    try:
        reader, writer = takeover()
        session = _Session(command, reader, writer)
        task = asyncio.ensure_future(session.run())
        service.sessions.add(task)
        try:
            await task
        finally:
            service.sessions.discard(task)
    except (asyncio.CancelledError, ConnectionError, Broken):
        pass  # the server stops, or nobody listens any more: the command is ended below
    finally:
        await asyncio.shield(service.call(command.close))
        if session is not None:
            session.hang_up()


def _argv(text: str) -> tuple[str, ...]:
    try:
        argv = msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.DecodeError:
        argv = ()
    if not argv or not argv[0] or any("\0" in part for part in argv):
        hint = 'A JSON list of words, such as ["sh", "-c", "nvidia-smi"].'
        raise InvalidSpec("This is no command.", where=Where(key="command"), hint=hint)
    return argv


class _Session:
    def __init__(self, command: Exec, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._command, self._reader, self._writer = command, reader, writer
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[str] = self._loop.create_future()
        self._typed = bytearray()
        self._typed_all = False
        self._carried: dict[int, Kind] = {}

    async def run(self) -> None:
        """To the end of the command, of the job, or of the connection."""
        frames = Reader()
        if not await self._hear_start(frames):
            return
        command = self._command
        self._loop.add_reader(command.exit_fd, self._end, "")
        self._loop.add_reader(command.ended_fd, self._end, "the job has ended")
        for fd, kind in ((command.stdout, Kind.STDOUT), (command.stderr, Kind.STDERR)):
            if fd >= 0:
                self._carried[fd] = kind
                self._loop.add_reader(fd, self._carry, fd, kind)
        listening = asyncio.ensure_future(self._listen(frames))
        beating = asyncio.ensure_future(self._beat())
        try:
            waited: set[asyncio.Future[Any]] = {self._over, listening}
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if self._over.done():
                await self._say_end(self._over.result())
            else:
                listening.result()
        finally:
            for task in (listening, beating):
                task.cancel()
            self._stop_watching()

    def hang_up(self) -> None:
        self._writer.close()

    async def _hear_start(self, frames: Reader) -> bool:
        """Whether the client came so far as to begin."""
        while data := await self._reader.read(READ_BYTES):
            for kind, content in frames.feed(data):
                if kind is Kind.START:
                    for each in frames.feed(b""):
                        self._obey(*each)
                    return True
                raise Broken(f"{kind.name} before START: {content[:20]!r}")
        return False

    async def _listen(self, frames: Reader) -> None:
        while data := await self._reader.read(READ_BYTES):
            for kind, content in frames.feed(data):
                self._obey(kind, content)
            while len(self._typed) > HIGH_WATER_BYTES:
                await asyncio.sleep(0.01)
        raise ConnectionResetError("the client has hung up")

    def _obey(self, kind: Kind, content: bytes) -> None:
        match kind:
            case Kind.STDIN:
                self._typed += content
                self._typed_all = self._typed_all or not content
                self._type()
            case Kind.RESIZE:
                try:
                    size = msgspec.json.decode(content, type=Size)
                except msgspec.DecodeError as error:
                    raise Broken(str(error)) from error
                self._command.resize(TerminalSize(columns=size.columns & 0xFFFF, rows=size.rows & 0xFFFF))
            case _:
                raise Broken(f"a client does not say {kind.name}")

    def _type(self) -> None:
        """Hand on what was typed, as much as is taken now."""
        fd = self._command.stdin
        if fd < 0:
            self._typed.clear()
            return
        try:
            while self._typed:
                del self._typed[: os.write(fd, self._typed[:READ_BYTES])]
        except BlockingIOError:
            self._loop.add_writer(fd, self._type)
            return
        except OSError:  # it listens no more
            self._typed.clear()
        self._loop.remove_writer(fd)
        if self._typed_all:
            self._typed_all = False
            self._command.end_input()

    def _carry(self, fd: int, kind: Kind) -> bool:
        """Send on what it printed. ``False`` = there is nothing now, or never again."""
        if self._writer.transport.get_write_buffer_size() > HIGH_WATER_BYTES:
            self._loop.remove_reader(fd)
            self._loop.call_later(0.02, self._resume, fd, kind)
            return False
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:  # a terminal that nobody holds any more
            data = b""
        if not data:
            self._loop.remove_reader(fd)
            self._carried.pop(fd, None)
            return False
        self._writer.write(frame(kind, data))
        return True

    def _resume(self, fd: int, kind: Kind) -> None:
        if fd in self._carried:
            self._loop.add_reader(fd, self._carry, fd, kind)

    def _end(self, reason: str) -> None:
        if not self._over.done():
            self._over.set_result(reason)

    async def _say_end(self, reason: str) -> None:
        """First all that it has printed, then how it ended."""
        for fd, kind in tuple(self._carried.items()):
            while fd in self._carried:
                await self._writer.drain()
                if not self._carry(fd, kind) and self._writer.transport.get_write_buffer_size() <= HIGH_WATER_BYTES:
                    break
        code = ENDED_CODE
        if not reason:
            code = await self._loop.run_in_executor(None, self._command.exit_code)
        self._writer.write(frame(Kind.EXIT, msgspec.json.encode(Exit(code=code, reason=reason))))
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            self._writer.write(frame(Kind.BEAT))

    def _stop_watching(self) -> None:
        command = self._command
        self._carried.clear()
        for fd in {command.stdin, command.stdout, command.stderr, command.exit_fd, command.ended_fd} - {-1}:
            self._loop.remove_reader(fd)
            self._loop.remove_writer(fd)
