"""The user's side of a command inside a job: keyboard and screen on this end, frames on the other."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from ampacity.api.frames import Broken, Exit, Kind, Reader, Size, frame
from ampacity.api.wire import HEARTBEAT_S
from ampacity.model.errors import AmpacityError, NotRunning

READ_BYTES = 64 << 10
SILENCE_S = 3.5 * HEARTBEAT_S


class Terminal:
    """A connection to a command that runs inside a job. Use it once, by :meth:`run`."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._frames = Reader()

    def run(self, *, stdin: int | None = 0, stdout: int = 1, stderr: int = 2, tty_size: bool = False) -> int:
        """Carry what is typed and printed until the command has ended; returns its exit code.

        Args:
            stdin: a descriptor; ``None`` = nothing is typed.
            tty_size: ``stdin`` is a terminal: every key goes through as it is, and its size is told when it changes.

        Raises:
            NotRunning: the connection was cut.
            AmpacityError: the job ended first; says so.
        """
        stirred, stir = os.pipe()  # a byte: the window has another size; its end: all is over
        typist = threading.Thread(target=self._type, args=(stdin, stirred, tty_size), daemon=True)
        try:
            self._sock.settimeout(SILENCE_S)
            with _raw(stdin if tty_size else None), _on_resize(stir if tty_size else None):
                self._send(Kind.START)
                typist.start()
                found = self._listen(stdout, stderr)
        except TimeoutError as error:
            raise NotRunning("The control plane has been silent for too long.") from error
        except (OSError, Broken) as error:
            raise NotRunning(f"The connection was cut ({error}).") from error
        finally:
            os.close(stir)
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
            if typist.ident is not None:
                typist.join()
            os.close(stirred)
            self._sock.close()
        if found.reason:
            raise AmpacityError(f"The command was ended: {found.reason}.")
        return found.code

    def _listen(self, stdout: int, stderr: int) -> Exit:
        while True:
            ended = self._hear(stdout, stderr)
            if ended is not None:
                return ended

    def _type(self, stdin: int | None, stirred: int, tty_size: bool) -> None:
        """In a thread of its own: what is printed is heard even while nothing more is taken of what is typed."""
        poller = select.poll()
        poller.register(stirred, select.POLLIN)
        with contextlib.suppress(OSError):  # the connection is gone: the one who listens says so
            if stdin is None:
                self._send(Kind.STDIN)
            else:
                poller.register(stdin, select.POLLIN)
                if tty_size:
                    self._tell_size(stdin)
            while True:
                for fd, _ in poller.poll():
                    if fd == stirred:
                        if not os.read(stirred, READ_BYTES):
                            return
                        if stdin is not None:
                            self._tell_size(stdin)
                        continue
                    typed = _read(fd)
                    self._send(Kind.STDIN, typed)
                    if not typed:
                        poller.unregister(fd)

    def _hear(self, stdout: int, stderr: int) -> Exit | None:
        data = self._sock.recv(READ_BYTES)
        if not data:
            raise ConnectionResetError("it ended in the middle")
        for kind, content in self._frames.feed(data):
            match kind:
                case Kind.STDOUT:
                    _write(stdout, content)
                case Kind.STDERR:
                    _write(stderr, content)
                case Kind.EXIT:
                    return msgspec.json.decode(content, type=Exit)
                case Kind.BEAT:
                    continue
                case _:
                    raise Broken(f"a control plane does not say {kind.name}")
        return None

    def _tell_size(self, fd: int) -> None:
        try:
            size = os.get_terminal_size(fd)
        except OSError:  # it is no terminal any more
            return
        self._send(Kind.RESIZE, msgspec.json.encode(Size(columns=size.columns, rows=size.lines)))

    def _send(self, kind: Kind, content: bytes = b"") -> None:
        self._sock.sendall(frame(kind, content))


def terminal_size() -> Size:
    """That of this process's terminal."""
    size = os.get_terminal_size(sys.stdin.fileno())
    return Size(columns=size.columns, rows=size.lines)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, READ_BYTES)
    except OSError:  # a terminal that was closed
        return b""


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


@contextmanager
def _raw(fd: int | None) -> Iterator[None]:
    """Every key goes through: Ctrl-C is the command's."""
    if fd is None:
        yield
        return
    before = termios.tcgetattr(fd)
    tty.setraw(fd, termios.TCSADRAIN)  # what was typed ahead is kept
    try:
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextmanager
def _on_resize(pipe: int | None) -> Iterator[None]:
    """Write a byte into the pipe whenever the window changes its size. Only the main thread hears of it."""
    if pipe is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGWINCH, lambda *_: os.write(pipe, b"."))
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
