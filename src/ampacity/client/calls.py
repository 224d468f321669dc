"""What all groups of calls share: the link, the project, and paths."""

from __future__ import annotations

from urllib.parse import quote

from ampacity.model.errors import NotFound
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
