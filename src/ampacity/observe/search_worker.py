"""Matches a regular expression against lines, for a parent that can end this process when that takes too long.

Run by path: ``python -I -S search_worker.py PATTERN FLAGS`` (``i``: upper and lower case are alike). A request on
stdin is four bytes (little-endian length) and that many bytes of UTF-8, lines between newlines; the answer on stdout is
one byte for each line, ``1`` or ``0``. Standard library only.
"""

from __future__ import annotations

import re
import resource
import struct
import sys

MEMORY_BYTES = 1 << 30


def main(pattern: str, flags: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    search = re.compile(pattern, re.IGNORECASE if "i" in flags else 0).search
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while len(head := source.read(4)) == 4:
        (length,) = struct.unpack("<I", head)
        lines = source.read(length).decode("utf-8", "replace").split("\n")
        sink.write(b"".join([b"1" if search(line) else b"0" for line in lines]))
        sink.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
