"""Reading the headers of safetensors files: parameters and dtypes, without loading a tensor.

The format: 8 bytes, little-endian, give the header's length; the header is a JSON object from tensor names to
``{dtype, shape, data_offsets}``, with an optional ``__metadata__``
(https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
import operator
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ampacity.model.errors import HubError

from .version import Weights

LENGTH_BYTES = 8
LONGEST_HEADER = 100_000_000
"""The format's own limit, in bytes."""


BITS = {
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
}
"""Bits of one element, where the format's own list has had them for long; other dtypes are taken as they come."""


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
    header, data_bytes = _header(path)
    found = []
    for name, about in header.items():
        if name == "__metadata__":
            continue
        try:
            dtype, shape = str(about["dtype"]), [operator.index(size) for size in about["shape"]]
            begin, end = (operator.index(offset) for offset in about["data_offsets"])
        except (TypeError, KeyError, ValueError) as error:
            raise _wrong(path, name) from error
        elements = math.prod(shape)
        if min(shape, default=0) < 0 or not 0 <= begin <= end:
            raise _wrong(path, name)
        if dtype in BITS and (elements * BITS[dtype] + 7) // 8 != end - begin:
            raise _wrong(path, name)
        if end > data_bytes:
            raise HubError(
                f"{path.name} is cut short: the tensor {name!r} ends {end - data_bytes} bytes behind its end.",
                hint="Copy or download it again.",
            )
        found.append((dtype, elements))
    return found


def _wrong(path: Path, tensor: str) -> HubError:
    return HubError(f"{path.name} is not a safetensors file: the tensor {tensor!r} is described wrongly.")


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header, and how many bytes follow it."""
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
    return header, size - LENGTH_BYTES - length
