"""What all groups of calls share: the link, the project, paths, and files that are read."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from ampacity.model.errors import InvalidSpec, NotFound, Where
from ampacity.model.ids import Project

from .link import Link

T = TypeVar("T")


class Calls:
    """The root of :class:`Client` and of its parts."""

    project: Project
    _link: Link
    _reconnect_s: float

    def _in(self, project: str | None) -> Project:
        return self.project if project is None else Project(project)

    def _apply(self, path: str, kind: type[T], what: str | Path, *, dry_run: bool, name: str) -> T:
        """Make what is at the path what a file says. ``what``: the file, or its text, which ``name`` stands for in
        messages."""
        text, name = (read_text(what), str(what)) if isinstance(what, Path) else (what, name)
        return self._link.call("PUT", path, kind, body={"file": text, "name": name, "dry_run": dry_run})


def path_of(*parts: str) -> str:
    """The path of a thing. Raises ``NotFound`` for a name that no thing can have."""
    kind, ref, *_ = parts
    if ref in ("", ".", "..") or ("/" in ref and kind != "models"):
        raise NotFound(f"{ref!r} cannot be the name of one of the {kind}.")
    return "".join("/" + quote(part, safe="") for part in parts)


def read_text(path: Path) -> str:
    """The text of a user's file. Raises ``InvalidSpec`` with its name."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidSpec(f"{error.strerror}.", where=Where(file=str(path))) from error
    except UnicodeDecodeError:
        raise InvalidSpec("The file is not UTF-8 text.", where=Where(file=str(path))) from None
