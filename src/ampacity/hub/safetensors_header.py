"""Reading the headers of safetensors files: parameters and dtypes, without loading a tensor.

The format: 8 bytes, little-endian, give the header's length; the header is a JSON object from tensor names to
``{dtype, shape, data_offsets}``, with an optional ``__metadata__``
(https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ampacity.model.errors import HubError

from .version import Weights

LENGTH_BYTES = 8
LONGEST_HEADER = 100_000_000
"""The format's own limit, in bytes."""


def read_weights(paths: Iterable[Path]) -> Weights:
    """The sum over the files. Raises ``HubError`` for one whose header is broken."""
    dtypes: Counter[str] = Counter()
    tensors = 0
    for path in paths:
        for dtype, count in _tensors(path):
            dtypes[dtype] += count
            tensors += 1
    return Weights(parameters=sum(dtypes.values()), tensors=tensors, dtypes=dict(sorted(dtypes.items())))


def _tensors(path: Path) -> list[tuple[str, int]]:
    """Dtype and number of elements of each tensor."""
    header = _header(path)
    found = []
    for name, about in header.items():
        if name == "__metadata__":
            continue
        try:
            found.append((str(about["dtype"]), math.prod(int(size) for size in about["shape"])))
        except (TypeError, KeyError, ValueError) as error:
            raise HubError(
                f"{path.name} is not a safetensors file: the tensor {name!r} is described wrongly."
            ) from error
    return found


def _header(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if size < LENGTH_BYTES or length > min(size - LENGTH_BYTES, LONGEST_HEADER):
            raise HubError(f"{path.name} is not a safetensors file: it is too short for its header.")
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise HubError(f"{path.name} is not a safetensors file: its header is no JSON.") from error
    if not isinstance(header, dict):
        raise HubError(f"{path.name} is not a safetensors file: its header is no object.")
    return header
