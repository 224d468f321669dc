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
from ampacity.drivers.supervisor.processes import carrying, descendants, in_session, send, start_ticks
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
        self._began = start_ticks(self._process.pid) or 0

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
        self._end_rest()

    def _end_rest(self) -> None:
        """Hang up, and kill what is still there after a while. Done when two looks in a row found nothing: one who
        forks and ends between the listing and the reading hides its child from a look."""
        begun = time.monotonic()
        told: set[int] = set()
        empty_looks = 0
        while empty_looks < 2 and (passed_s := time.monotonic() - begun) < HANG_UP_S + STUCK_S:
            rest, unclear = self._rest()
            send(rest - told, signal.SIGHUP)
            told |= rest
            if passed_s >= HANG_UP_S:
                send(rest, signal.SIGKILL)
            empty_looks = 0 if rest or (unclear and passed_s < HANG_UP_S) else empty_looks + 1
            time.sleep(_LOOK_AGAIN_S)

    def _rest(self) -> tuple[set[int], set[int]]:
        """All that it started and that still lives: below it, in its session, or with its mark; and who could be
        such a one."""
        found, unclear = carrying(EXEC_MARK + self._ident.encode(), self._began)
        found |= in_session(self._process.pid)
        if self._process.poll() is None:
            found |= descendants(self._process.pid)
        return found, unclear - found

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
