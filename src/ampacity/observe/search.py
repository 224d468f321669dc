"""Searching lines: by text here, by a regular expression in a process that is ended when it takes too long.

A regular expression from outside may take for ever on one line (``(a+)+$``), and while it does no other thread of its
process runs; so it never runs in the control plane's.
"""

from __future__ import annotations

import os
import re
import select
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from ampacity.model.errors import InvalidSpec, Where

T = TypeVar("T")

MOST_CHARACTERS = 1000
PAGE_LIMIT_S = 5.0
"""How long a regular expression may take for one page of lines."""

WORKER = Path(__file__).parent / "search_worker.py"
_SPECIAL = frozenset(".^$*+?{}[]\\|()")


class Matcher(Protocol):
    """Says of lines which match. Lines have no newline in them."""

    def matches(self, lines: Sequence[str]) -> list[bool]:
        """Raises ``InvalidSpec`` when the pattern takes too long."""
        ...

    def close(self) -> None: ...


def open_matcher(pattern: str, *, fixed: bool = False, ignore_case: bool = False) -> Matcher:
    """The matcher of a pattern: a regular expression in Python's words, or with ``fixed`` the text itself.

    Raises:
        InvalidSpec: the pattern is empty, too long, or no regular expression.
    """
    if not pattern or "\n" in pattern or "\0" in pattern:
        raise _wrong("The pattern is empty, or has a line's end in it", "Give what one line shall hold.")
    if len(pattern) > MOST_CHARACTERS:
        raise _wrong(f"The pattern is longer than {MOST_CHARACTERS} characters", "Give less of it.")
    if fixed or not _SPECIAL.intersection(pattern):
        return TextMatcher(pattern, ignore_case=ignore_case)
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        hint = "Give it as plain text (--fixed) if it is none."
        raise _wrong(f"{pattern!r} is no regular expression: {error}", hint) from None
    return RegexMatcher(pattern, ignore_case=ignore_case)


class TextMatcher:
    """By the text itself."""

    def __init__(self, text: str, *, ignore_case: bool) -> None:
        self._ignore_case = ignore_case
        self._text = text.casefold() if ignore_case else text

    def matches(self, lines: Sequence[str]) -> list[bool]:
        if self._ignore_case:
            return [self._text in line.casefold() for line in lines]
        return [self._text in line for line in lines]

    def close(self) -> None:
        return


class RegexMatcher:
    """By a regular expression, in a process of its own that is started with the first lines."""

    def __init__(self, pattern: str, *, ignore_case: bool, limit_s: float = PAGE_LIMIT_S) -> None:
        self._pattern, self._limit_s = pattern, limit_s
        self._command = [sys.executable, "-I", "-S", str(WORKER), pattern, "i" if ignore_case else ""]
        self._process: subprocess.Popen[bytes] | None = None

    def matches(self, lines: Sequence[str]) -> list[bool]:
        if not lines:
            return []
        text = "\n".join(line.replace("\n", " ") for line in lines).encode("utf-8", "replace")
        answer = self._ask(struct.pack("<I", len(text)) + text, len(lines))
        return [byte == ord("1") for byte in answer]

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None, "it was asked for"
                pipe.close()  # unbuffered: nothing is left to write

    def _ask(self, request: bytes, size: int) -> bytes:
        """The answer, byte by byte as many as there are lines. Nothing here waits longer than the limit."""
        source, sink = self._pipes()
        deadline = time.monotonic() + self._limit_s
        answer, sent = b"", 0
        while len(answer) < size:
            left_s = deadline - time.monotonic()
            writing = [sink] if sent < len(request) else []
            readable, writable, _ = select.select([source], writing, [], max(0.0, left_s))
            if not readable and not writable:
                self.close()
                raise _wrong(
                    f"{self._pattern!r} takes too long: more than {self._limit_s:g} s for {size} lines",
                    "Repetitions inside repetitions, such as (a+)+, take for ever; write it without, or as plain text.",
                )
            if writable:
                sent += os.write(sink, request[sent : sent + 65536])
            if readable:
                data = os.read(source, 65536)
                if not data:
                    self.close()
                    raise _wrong(f"{self._pattern!r} needs too much memory", "Give less of it.")
                answer += data
        return answer

    def _pipes(self) -> tuple[int, int]:
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
            )
        assert self._process.stdin is not None, "it was asked for"
        assert self._process.stdout is not None, "it was asked for"
        os.set_blocking(self._process.stdin.fileno(), False)
        return self._process.stdout.fileno(), self._process.stdin.fileno()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit(Generic[T]):
    """A line that matched, or one of those around it. Hits of one ``group`` stand next to each other."""

    line: T
    matched: bool
    group: int


class Context(Generic[T]):
    """Keeps the lines around those that match: up to ``lines`` before and after."""

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._before: deque[T] = deque(maxlen=lines) if lines else deque(maxlen=0)
        self._after = 0
        self._group = 0
        self._skipped = True

    def feed(self, lines: Sequence[T], matched: Sequence[bool]) -> Iterator[Hit[T]]:
        """The hits among the next lines."""
        for line, found in zip(lines, matched, strict=True):
            if found:
                if self._skipped:
                    self._group += 1
                    self._skipped = False
                for before in self._before:
                    yield Hit(line=before, matched=False, group=self._group)
                self._before.clear()
                self._after = self._lines
                yield Hit(line=line, matched=True, group=self._group)
            elif self._after:
                self._after -= 1
                yield Hit(line=line, matched=False, group=self._group)
            else:
                if len(self._before) == self._before.maxlen:
                    self._skipped = True
                self._before.append(line)

    def begin(self, group: int) -> None:
        """Other lines come now, that do not stand next to those before."""
        self._before.clear()
        self._after, self._skipped, self._group = 0, True, group

    @property
    def group(self) -> int:
        return self._group


def _wrong(message: str, hint: str) -> InvalidSpec:
    return InvalidSpec(f"{message}.", where=Where(key="pattern"), hint=hint)
