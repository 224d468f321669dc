"""A command inside a running member, on a terminal or with pipes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path

from ampacity.drivers import supervisor
from ampacity.drivers.base import TerminalSize
from ampacity.drivers.supervisor.processes import descendants, send
from ampacity.model.errors import DriverUnavailable

ENTER_SCRIPT = Path(supervisor.__file__).parent / "enter.py"
EXEC_MARK = b"AMPACITY_EXEC="
HANG_UP_S = 1.0
"""Between being told that nobody listens any more and being killed."""

STUCK_S = 10.0
"""One that does not die of SIGKILL hangs in the kernel; it is not waited for without end."""

_LOOK_AGAIN_S = 0.02


class LocalExec:
    """Fulfils ``Exec``.

    Args:
        folder: the member's.
        pid: its main process, whose environment and limits are shared.
        workdir: where the command begins.
        supervisor_pidfd: belongs to this object from now on; readable once the member has ended.
        terminal: ``None`` = pipes.

    Raises:
        DriverUnavailable: the machine cannot start it now.
    """

    def __init__(
        self,
        folder: str,
        pid: int,
        argv: Sequence[str],
        *,
        workdir: str,
        supervisor_pidfd: int,
        terminal: TerminalSize | None,
    ) -> None:
        self.stdin = self.stdout = self.stderr = -1
        self._process: subprocess.Popen[bytes]
        self._ident = secrets.token_hex(8)
        self.ended_fd = supervisor_pidfd
        command = [sys.executable, "-I", "-S", str(ENTER_SCRIPT), folder, str(pid), str(int(terminal is not None))]
        command += [self._ident, workdir, *argv]
        self._terminal = terminal is not None
        try:
            if terminal is None:
                self._with_pipes(command)
            else:
                self._with_terminal(command, terminal)
        except OSError as error:
            os.close(supervisor_pidfd)
            raise DriverUnavailable(f"the command cannot be started now: {error}") from error
        self.exit_fd = os.pidfd_open(self._process.pid)

    def resize(self, size: TerminalSize) -> None:
        """Tell the terminal its new size; without a terminal, nothing."""
        if self._terminal:
            _set_size(self.stdin, size)

    def end_input(self) -> None:
        """Nothing more will be typed. On a terminal that is what Ctrl-D says."""
        if self._terminal:
            with contextlib.suppress(OSError):
                os.write(self.stdin, b"\x04")
        elif self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def exit_code(self) -> int:
        """Wait for its end: its own code, or 128 + the signal that ended it."""
        code = self._process.wait()
        return code if code >= 0 else 128 - code

    def close(self) -> None:
        """End what is left of it, in the background too, and let go of the descriptors."""
        for fd in {self.stdin, self.stdout, self.stderr, self.exit_fd, self.ended_fd} - {-1}:
            os.close(fd)
        self.stdin = self.stdout = self.stderr = self.exit_fd = self.ended_fd = -1
        deadline = time.monotonic() + HANG_UP_S
        send(self._rest(), signal.SIGHUP)
        while (rest := self._rest()) and time.monotonic() < deadline + STUCK_S:
            if time.monotonic() >= deadline:
                send(rest, signal.SIGKILL)
            time.sleep(_LOOK_AGAIN_S)

    def _rest(self) -> set[int]:
        """All that it started and that still lives: below it, or with its mark."""
        below = descendants(self._process.pid) if self._process.poll() is None else set()
        own = {self._process.pid} if self._process.poll() is None else set()
        return below | own | _marked(EXEC_MARK + self._ident.encode())

    def _with_pipes(self, command: list[str]) -> None:
        ends = [os.pipe() for _ in range(3)]
        (theirs_in, self.stdin), (self.stdout, theirs_out), (self.stderr, theirs_err) = ends
        try:
            self._process = _start(command, theirs_in, theirs_out, theirs_err)
        except OSError:
            for fd in (self.stdin, self.stdout, self.stderr):
                os.close(fd)
            raise
        finally:
            for fd in (theirs_in, theirs_out, theirs_err):
                os.close(fd)
        for fd in (self.stdin, self.stdout, self.stderr):
            os.set_blocking(fd, False)

    def _with_terminal(self, command: list[str], size: TerminalSize) -> None:
        ours, theirs = os.openpty()
        _set_size(theirs, size)
        try:
            self._process = _start(command, theirs, theirs, theirs)
        except OSError:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        os.set_blocking(ours, False)
        self.stdin, self.stdout, self.stderr = ours, ours, -1


def _start(command: list[str], stdin: int, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    """In a session of its own: what is typed as Ctrl-C is its terminal's, not the control plane's."""
    return subprocess.Popen(
        command, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True, close_fds=True, env={}
    )


def _set_size(fd: int, size: TerminalSize) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", size.rows, size.columns, 0, 0))


def _marked(entry: bytes) -> set[int]:
    found = set()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                environment = file.read()
        except OSError:
            continue
        if entry in environment.split(b"\0"):
            found.add(int(name))
    return found
