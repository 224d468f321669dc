"""The gateway's hot path compiled, where that has been done: the same source, for less CPU time a request.

``python -m ampacity.serving.compiling`` compiles it into a folder that is named after the source's digest, so that what
is found there is always of this very source. The gateway's processes use what they find, and else the source.
"""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

_PARTS = {
    "admission": "access bucket account learned fair_line model_line admission verdict",
    "dispatch": "request dispatcher",
    "routing": "base immediate round_robin least_loaded session split blocks member order caches cost bound slots plan "
    "prefix",
    "gateway": "tables repeats answers heads chunked streams usage desk wheel health engines answer visit upstream "
    "client core choice shadow flight_state flight hedge takeover rescue patience remote_desk dispatching",
}

MODULES = tuple(f"ampacity.serving.{part}.{name}" for part, names in _PARTS.items() for name in names.split())
"""What a request goes through."""

FOLDER_VARIABLE = "AMPACITY_COMPILED"
"""Where compiled code is kept; empty = it is not used."""


def source_of(module: str) -> Path:
    return Path(__file__).parents[1] / Path(*module.split(".")[1:]).with_suffix(".py")


def folder() -> Path | None:
    """Where this very source's compiled code is, if it is; ``None`` = none is to be used."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named == "":
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    root = Path(named) if named else cache / "ampacity" / "compiled"
    digest = hashlib.sha256(str(sys.implementation.cache_tag).encode())
    for module in MODULES:
        digest.update(source_of(module).read_bytes())
    return root / digest.hexdigest()[:24]


def use() -> bool:
    """From now on import what was compiled. ``False``: nothing was, of this source."""
    found = folder()
    if found is None or not (found / "complete").exists():
        return False
    sys.meta_path.insert(0, Finder(found))
    return True


class Finder(MetaPathFinder):
    """Finds the compiled modules, and what they share."""

    def __init__(self, found: Path) -> None:
        self._folder = found
        self._suffix = importlib.machinery.EXTENSION_SUFFIXES[0]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in MODULES and not fullname.endswith("__mypyc"):
            return None
        file = self._folder / (fullname + self._suffix)
        if not file.exists():
            return None
        loader = importlib.machinery.ExtensionFileLoader(fullname, str(file))
        return importlib.util.spec_from_file_location(fullname, file, loader=loader)
