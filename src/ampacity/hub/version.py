"""The nouns of the hub: a model's version, its files, and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """One file of a version. ``digest`` is ``sha256:<hex>`` of its bytes."""

    path: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a version came from; what is not known is empty. ``data`` names data sets or their digests."""

    run: str = ""
    run_name: str = ""
    project: str = ""
    step: int | None = None
    code_revision: str = ""
    data: tuple[str, ...] = ()
    checkpoint: str = ""
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What the headers of its safetensors files say. ``dtypes``: parameters by dtype (``F32``, ``BF16``, …)."""

    parameters: int = 0
    tensors: int = 0
    dtypes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One immutable version. ``version`` counts from 1; ``digest`` is that of the list of its files."""

    name: str
    version: int
    digest: str
    created_at: float
    files: tuple[ModelFile, ...]
    size_bytes: int
    weights: Weights = field(default_factory=Weights)
    architecture: str = ""
    lineage: Lineage = field(default_factory=Lineage)
    tags: tuple[str, ...] = ()

    @property
    def ref(self) -> str:
        return f"{self.name}:{self.version}"
