"""What all groups of calls share: the link, the project, paths, and files that are read."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from ampacity.model.errors import InvalidSpec, NotFound, Where
from ampacity.model.ids import Project

from .link import Link


class Calls:
    """The root of :class:`Client` and of its parts."""

    project: Project
    _link: Link

    def _in(self, project: str | None) -> Project:
        return self.project if project is None else Project(project)


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
