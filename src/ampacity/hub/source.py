"""What is added to the hub: a folder or a file, and what its own files say of it."""

from __future__ import annotations

import json
from pathlib import Path

from ampacity.model.errors import HubError, InvalidSpec, Where


def files_of(source: Path) -> list[tuple[str, Path]]:
    """The files to take, by their path inside the source. Raises ``InvalidSpec``."""
    where = Where(key="path")
    if source.is_file():
        return [(source.name, source)]
    if not source.is_dir():
        raise InvalidSpec(f"{source} is not there.", where=where, hint="Give a folder with the model's files.")
    root = source.resolve()
    found = sorted(path for path in source.rglob("*") if path.is_file() or path.is_symlink())
    for path in found:
        if not path.resolve().is_relative_to(root) or not path.is_file():
            raise InvalidSpec(f"{path} leads out of the folder, or nowhere.", where=where, hint="Copy the file in.")
    if not found:
        raise InvalidSpec(f"{source} holds no file.", where=where)
    return [(path.relative_to(source).as_posix(), path) for path in found]


def architecture_of(found: list[tuple[str, Path]]) -> str:
    """What ``config.json`` names; empty when there is none or it names nothing."""
    path = next((path for relative, path in found if relative == "config.json"), None)
    if path is None:
        return ""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise HubError(f"{path} is no JSON: {error}.") from error
    names = config.get("architectures") if isinstance(config, dict) else None
    return str(names[0]) if isinstance(names, list) and names else ""
