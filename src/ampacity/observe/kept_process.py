"""A process that is started again when it has ended, ever less often while it ends at once."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 60.0
STEADY_S = 60.0
"""One that ran for so long has its failures forgotten."""

ENDS_WITHIN_S = 3.0

log = logging.getLogger(__name__)


class KeptProcess:
    """One process of ``python -P -m MODULE``, holding the end of a pipe whose other end is ours (``--lease-fd``), so
    that it learns when we are gone.

    Call :meth:`tend` again and again; it never blocks.
    """

    def __init__(
        self, module: str, arguments: Sequence[str], *, log_path: str, longest_pause_s: float = LONGEST_PAUSE_S
    ) -> None:
        self.name = module.rpartition(".")[2]
        self._command = [sys.executable, "-P", "-m", module, *arguments]
        self._log_path, self._longest_pause_s = log_path, longest_pause_s
        self._process: subprocess.Popen[bytes] | None = None
        self._lease = -1
        self._started_at = 0.0
        self._failures = 0
        self._not_before = 0.0

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def age_s(self, now: float) -> float:
        """How long it has been running; 0 while it does not. ``now``: monotonic seconds."""
        return 0.0 if self._process is None else now - self._started_at

    def tend(self) -> None:
        """Start it when it is not there and its pause is over."""
        now = time.monotonic()
        if self._process is not None:
            code = self._process.poll()
            if code is None:
                return
            self._ended(code, now)
        if now >= self._not_before:
            self._start(now)

    def wait(self, wakeup: int) -> None:
        """Until it has ended or its pause is over, or the descriptor ``wakeup`` can be read."""
        if self._process is None:
            select.select([wakeup], [], [], max(0.0, self._not_before - time.monotonic()))
            return
        try:
            pidfd = os.pidfd_open(self._process.pid)
        except ProcessLookupError:
            return
        try:
            select.select([wakeup, pidfd], [], [])
        finally:
            os.close(pidfd)

    def kill(self) -> None:
        """With SIGKILL: it does not answer. The next :meth:`tend` that finds it dead starts another."""
        if self._process is not None:
            self._process.kill()

    def close(self, *, ask: bool = True) -> None:
        """Have it end: asked first (unless not ``ask``), then killed. Does not wait for one stuck in the kernel."""
        process, self._process = self._process, None
        if process is not None:
            for signum in (signal.SIGTERM, signal.SIGKILL) if ask else (signal.SIGKILL,):
                process.send_signal(signum)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(ENDS_WITHIN_S)
                    break
        self._drop_lease()

    def _start(self, now: float) -> None:
        reading, self._lease = os.pipe()
        try:
            with open(self._log_path, "ab", opener=_private) as output:
                self._process = subprocess.Popen(
                    [*self._command, "--lease-fd", str(reading)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(reading,),
                    start_new_session=True,
                )
            self._started_at = now
        except OSError as error:
            log.warning("%s cannot be started: %s", self.name, error)
            self._drop_lease()
            self._count_failure(now)
        finally:
            os.close(reading)

    def _ended(self, code: int, now: float) -> None:
        self._process = None
        self._drop_lease()
        if now - self._started_at >= STEADY_S:
            self._failures = 0
        self._count_failure(now)
        log.warning("%s ended with %d; it is started again in %.1f s", self.name, code, self._not_before - now)

    def _count_failure(self, now: float) -> None:
        self._failures += 1
        self._not_before = now + min(self._longest_pause_s, FIRST_PAUSE_S * 4.0 ** min(self._failures - 1, 10))

    def _drop_lease(self) -> None:
        if self._lease >= 0:
            os.close(self._lease)
            self._lease = -1


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
