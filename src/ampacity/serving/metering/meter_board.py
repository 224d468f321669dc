"""Where a gateway's processes put their meters, so that whichever of them is asked can tell of all."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ampacity.model.request_usage import RequestRecord

from .meters import Meters

log = logging.getLogger(__name__)

_decoder = msgspec.json.Decoder(Meters)


class MeterBoard:
    """One process's meters. ``folder``: where all processes of a gateway write theirs; ``None`` = there is one alone.

    What a process that is gone had counted stays there, so that sums never fall while the gateway runs.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._meters = Meters()
        self._lock = threading.Lock()

    def observe(self, records: Sequence[RequestRecord], lost: int, left_out: int = 0) -> None:
        """Called by the recorder's thread."""
        with self._lock:
            self._meters.observe(records)
            self._meters.lost, self._meters.left_out = lost, left_out
            plain = msgspec.json.encode(self._meters) if self._folder is not None else b""
        if self._folder is not None:
            fresh = self._folder / f".{os.getpid()}"
            fresh.write_bytes(plain)
            os.replace(fresh, self._folder / f"{os.getpid()}.json")

    def text(self) -> str:
        """All processes' together."""
        whole = Meters()
        with self._lock:
            whole.add(self._meters)
        for path in [] if self._folder is None else sorted(self._folder.glob("*.json")):
            if path.stem != str(os.getpid()):
                try:
                    whole.add(_decoder.decode(path.read_bytes()))
                except (OSError, msgspec.DecodeError, ValueError) as error:
                    log.warning("the meters in %s cannot be read: %s", path, error)
        return whole.text()
