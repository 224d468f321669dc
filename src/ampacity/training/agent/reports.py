"""What the agent tells the world: lines of output, facts, and the cause of its end."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from typing import Any, Dict, Optional

from .config import Config
from .masks import masked, masks_in

PROGRESS_EVERY_S = 1.0


class Output:
    """Appends to the member's ``output.log``, one whole line at a time. Used by several threads.

    A disk that takes no more loses lines, which are counted; the ranks are not kept waiting.
    """

    def __init__(self, config: Config) -> None:
        path = os.path.join(config.member_dir, "output.log")
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._lost = 0
        self._masks = masks_in(os.environ)

    def line(self, rank: Optional[int], stream: str, text: bytes) -> None:
        if self._lost and self._append(None, "sys", b"%d lines of output were lost: the disk was full" % self._lost):
            self._lost = 0
        if not self._append(rank, stream, text):
            self._lost += 1

    def say(self, text: str) -> None:
        """A line of the agent's own."""
        self.line(None, "sys", text.encode())

    def _append(self, rank: Optional[int], stream: str, text: bytes) -> bool:
        text = masked(text, self._masks)
        who = "-" if rank is None else str(rank)
        line = b"%.6f %s %s %s\n" % (time.time(), who.encode(), stream.encode(), text)
        try:
            return os.write(self._fd, line) == len(line)
        except OSError:
            return False


class Facts:
    """Appends facts to the driver's journal, in the form of ``model/codec``.

    They are for others to know; one that cannot be written does not end the ranks, but is told in the log.
    """

    def __init__(self, config: Config, output: Output) -> None:
        self._path, self._key, self._output = config.facts, config.key, output
        self._lock = threading.Lock()

    def incarnation(self, number: int, cause: Dict[str, Any]) -> None:
        self._append({"fact": "incarnation_began", "incarnation": number, "cause": cause})

    def progress(self, report: Dict[str, Any]) -> None:
        self._append({"fact": "progress_reported", "progress": report})

    def _append(self, fact: Dict[str, Any]) -> None:
        line = json.dumps({**fact, "key": self._key, "at": time.time()}, separators=(",", ":")).encode() + b"\n"
        try:
            with self._lock:
                self._write(line)
        except OSError as error:
            self._output.say(f"the fact {fact['fact']} could not be written: {error.strerror}")

    def _write(self, line: bytes) -> None:
        fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(fd).st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            os.write(fd, b"\n" + line if torn else line)
        finally:
            os.close(fd)


def write_cause(config: Config, cause: Dict[str, Any]) -> None:
    """Leave the cause that the supervisor reports instead of the agent's exit code."""
    path = os.path.join(config.member_dir, "cause.json")
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(cause, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".new", path)


class ProgressTail(threading.Thread):
    """Turns the newest report of rank 0 into a fact, at most once a second."""

    def __init__(self, config: Config, facts: Facts) -> None:
        super().__init__(daemon=True, name="progress")
        self._path = os.path.join(config.member_dir, "progress", "rank-0.jsonl")
        self._facts = facts
        self._ending = threading.Event()
        self._offset = 0
        self._newest: Dict[str, Any] = {}
        self._checkpoint: Dict[str, Any] = {}

    def run(self) -> None:
        while not self._ending.wait(PROGRESS_EVERY_S):
            self.look()

    def finish(self) -> None:
        """Tell what is new once more, and end."""
        self._ending.set()
        self.join()
        self.look()

    def look(self) -> None:
        """Read what was appended, and report its newest step and checkpoint."""
        news = False
        for line in self._new_lines():
            read = _report_in(line)
            if read is None:
                continue
            news = True
            if read.get("checkpoint"):
                self._checkpoint = {
                    "checkpoint_step": read["step"],
                    "checkpoint_path": str(read["checkpoint"]),
                    "checkpoint_at": read["at"],
                }
                self._newest = self._newest or {"at": read["at"], "step": read["step"]}
            else:
                self._newest = {
                    "at": read["at"],
                    "step": read["step"],
                    "loss": _finite(read.get("loss")),
                    "tokens": read["tokens"] if isinstance(read.get("tokens"), int) else None,
                }
        if news:
            self._facts.progress({**self._newest, **self._checkpoint})

    def _new_lines(self) -> "list[bytes]":
        try:
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole, _, _ = data.rpartition(b"\n")
        self._offset += len(whole) + (1 if whole else 0)
        return whole.split(b"\n") if whole else []


def _report_in(line: bytes) -> Optional[Dict[str, Any]]:
    """The report in a line; ``None`` when it is none: torn, or written by something else."""
    try:
        read = json.loads(line)
    except ValueError:
        return None
    if not isinstance(read, dict) or not isinstance(read.get("step"), int) or _finite(read.get("at")) is None:
        return None
    return read


def _finite(value: object) -> Optional[float]:
    """JSON has no NaN, though Python writes and reads it."""
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
