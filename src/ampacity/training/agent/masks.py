"""The secrets that the ranks have and their output must not show: the same rule as the supervisor's."""

from __future__ import annotations

import os
from typing import List, Mapping

MASK = b"***"
SHORTEST_MASKED = 8


def masks_in(environ: Mapping[str, str]) -> List[bytes]:
    """What to look for in a line of output, the longest first: each line of each secret of this environment."""
    values = [os.fsencode(environ.get(name, "")) for name in environ.get("AMPACITY_SECRETS", "").split(",")]
    folder = environ.get("AMPACITY_SECRETS_DIR", "")
    for name in os.listdir(folder) if folder else []:
        with open(os.path.join(folder, name), "rb") as file:
            values.append(file.read())
    lines = {line.strip() for value in values for line in value.splitlines()}
    return sorted((line for line in lines if len(line) >= SHORTEST_MASKED), key=len, reverse=True)


def masked(line: bytes, masks: List[bytes]) -> bytes:
    for mask in masks:
        if mask in line:
            line = line.replace(mask, MASK)
    return line
