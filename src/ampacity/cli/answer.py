"""Answers for programs: one JSON document, or a line of JSON for each thing of a stream."""

from __future__ import annotations

import json
import sys
from typing import Any

from ampacity.model.codec import to_plain


def print_json(noun: object) -> None:
    """One document, indented on a terminal."""
    indent = 2 if sys.stdout.isatty() else None
    print(json.dumps(plain(noun), ensure_ascii=False, indent=indent), flush=True)


def print_line(noun: object) -> None:
    """One line of a stream."""
    print(json.dumps(plain(noun), ensure_ascii=False), flush=True)


def plain(noun: object) -> Any:
    return to_plain(noun)
