"""Keeps one collector running for a state folder, for as long as it is open."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence

from .kept_process import KeptProcess
from .places import LOG, metrics_folder

LOG_KEPT_BYTES = 1 << 20
LONGEST_PAUSE_S = 5.0


class CollectorKeeper:
    """Starts the collector, starts it again when it died, and ends it with :meth:`close`.

    Args:
        state_dir: the state folder; the collector's files lie in ``metrics`` below it.
        readers: devices' readers to use instead of those that this machine's drivers call for.
    """

    def __init__(self, state_dir: str, *, readers: Sequence[str] = ()) -> None:
        folder = metrics_folder(state_dir)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        log_path = os.path.join(folder, LOG)
        _keep_short(log_path)
        arguments = ["--state", str(state_dir), *(part for name in readers for part in ("--reader", name))]
        self._process = KeptProcess(
            "ampacity.observe.collector", arguments, log_path=log_path, longest_pause_s=LONGEST_PAUSE_S
        )
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC)
        self._closing = False
        self._thread = threading.Thread(target=self._keep, name="collector", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """The collector's, while it runs."""
        return self._process.pid

    def close(self) -> None:
        """End the collector. Safe to call twice."""
        if self._closing:
            return
        self._closing = True
        os.eventfd_write(self._wakeup, 1)
        if self._thread.is_alive():
            self._thread.join()
        self._process.close()
        os.close(self._wakeup)

    def _keep(self) -> None:
        while not self._closing:
            self._process.tend()
            self._process.wait(self._wakeup)


def _keep_short(path: str) -> None:
    """A log that has grown large is put aside; one such is kept."""
    try:
        if os.stat(path).st_size > LOG_KEPT_BYTES:
            os.replace(path, f"{path}.old")
    except FileNotFoundError:
        return
