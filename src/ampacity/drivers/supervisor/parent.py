"""The warm parent: it waits on ``parent.sock`` and forks a supervisor for every request.

Run by path: ``python -I -S parent.py FOLDER``. It prints ``ready`` (or ``taken``: another one has the folder) once it
listens, and goes on in the background. It ends when nobody has been connected for ``LINGER_S``; the supervisors live
on.

A request is one line, ``{"folder": the member's, "env": the environment to start from,
"secrets": see secrets.py}``; the supervisor answers with
one line, ``{"answer": word, "pid": its own}``.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import select
import signal
import socket
import sys
import time
import traceback

if not __package__:
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    __package__ = "supervisor"

from . import clone, holes, prctl
from .spare import Spare
from .supervise import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

LINGER_S = 2.0
SPARE_AFTER_MS = 12.0
"""Later than a short job needs: its start and its end do not share the CPUs with the next spare's fork."""
MAX_REQUEST_BYTES = 8 << 20
SOCKET_NAME = "parent.sock"
LOCK_NAME = "parent.lock"


def main(folder: str) -> None:
    os.chdir(folder)
    lock = os.open(LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("taken", flush=True)
        return
    listener = _listen()
    background = os.fork()
    if background:
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(background).encode(), 0)
        print("ready", flush=True)
        os._exit(0)
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    prctl.load()
    holes.load()
    clone.load()
    prctl.set_name("ampacity-parent")
    gc.collect()
    gc.freeze()
    _Server(listener).serve()


def _listen() -> socket.socket:
    """The socket's name is relative, because an absolute one may be longer than the kernel takes."""
    if os.path.lexists(SOCKET_NAME):
        os.unlink(SOCKET_NAME)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    listener.bind(SOCKET_NAME)
    os.umask(before)
    listener.listen(128)
    listener.setblocking(False)
    return listener


class _Server:
    """The parent's loop. While it has nothing to do it keeps one spare process at hand."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._poller = select.poll()
        self._poller.register(listener, select.POLLIN)
        self._clients: dict[int, tuple[socket.socket, bytearray]] = {}
        self._spare: Spare | None = None

    def serve(self) -> None:
        """Until nobody has been connected for ``LINGER_S``."""
        alone_since = time.monotonic()
        while True:
            events = self._poller.poll(self._patience_ms())
            if not events and self._spare is None and self._clients:
                self._make_spare()
            if not self._clients and not events and time.monotonic() - alone_since >= LINGER_S:
                return
            for fd, _ in events:
                if fd == self._listener.fileno():
                    self._accept()
                elif not self._read(*self._clients[fd]):
                    self._poller.unregister(fd)
                    self._clients.pop(fd)[0].close()
                    alone_since = time.monotonic()

    def _patience_ms(self) -> float | None:
        if not self._clients:
            return LINGER_S * 1000
        return None if self._spare is not None else SPARE_AFTER_MS

    def _make_spare(self) -> None:
        try:
            self._spare = Spare(_prepare, _supervise)
        except OSError:
            time.sleep(SPARE_AFTER_MS / 1000)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:
            return
        client.setblocking(False)
        self._clients[client.fileno()] = (client, bytearray())
        self._poller.register(client, select.POLLIN)

    def _read(self, client: socket.socket, received: bytearray) -> bool:
        """Take in what the client sent. ``False`` when it is done with: its request is whole, or it has hung up."""
        try:
            data = client.recv(1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            return False
        received += data
        if data and not received.endswith(b"\n"):
            return len(received) < MAX_REQUEST_BYTES
        if data:
            self._begin(client, bytes(received))
        return False

    def _begin(self, client: socket.socket, request: bytes) -> None:
        spare, self._spare = self._spare, None
        if spare is not None and spare.take(request, client):
            return
        try:
            pid = os.fork()
        except OSError as error:
            client.send(json.dumps({"answer": "no_fork", "pid": 0, "message": str(error)}).encode() + b"\n")
            return
        if pid == 0:
            try:
                _prepare(client.fileno())
            finally:
                _supervise(client, request)


def _prepare(keep: int) -> None:
    """In the forked process: be nobody's, and keep one descriptor only."""
    _close_all_but(keep)
    os.setsid()
    os.chdir("/")


def _supervise(client: socket.socket, request: bytes) -> NoReturn:
    """In the forked process, which never returns to the parent's loop."""
    status = 70
    try:
        asked = json.loads(request)
        run(asked["folder"], asked["env"], _Reply(client), asked.get("secrets") or {})
        status = 0
    except BaseException:  # noqa: BLE001  (whatever it was: say it and end, the parent's loop must not run here)
        traceback.print_exc()
    finally:
        os._exit(status)


def _close_all_but(keep: int) -> None:
    """Let go of what belongs to the parent, above all its lock: a new parent must be able to take that."""
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if fd > 2 and fd != keep:
            with contextlib.suppress(OSError):
                os.close(fd)


class _Reply:
    """Tells the driver one word, once. That it has hung up changes nothing for the member."""

    def __init__(self, client: socket.socket) -> None:
        self._client: socket.socket | None = client
        client.setblocking(True)

    def __call__(self, answer: str) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        with contextlib.suppress(OSError):
            client.sendall(json.dumps({"answer": answer, "pid": os.getpid()}).encode() + b"\n")
        client.close()


if __name__ == "__main__":
    main(sys.argv[1])
