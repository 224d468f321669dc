"""How models are named: ``name``, ``name:3``, ``name:tag``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ampacity.model.errors import InvalidSpec, Where

LATEST = "latest"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,94}[a-z0-9])?")
_TAG = re.compile(r"[A-Za-z_][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """A name with a version's number, or with a tag."""

    name: str
    version: int | None
    tag: str

    def __str__(self) -> str:
        return f"{self.name}:{self.version if self.version is not None else self.tag}"


def check_name(name: str) -> str:
    """Raises ``InvalidSpec``."""
    if not _NAME.fullmatch(name) or ".." in name:
        hint = "Use lower-case letters, digits, dots, dashes and underscores; begin and end with a letter or digit."
        raise InvalidSpec(f"{name!r} cannot be a model's name.", where=Where(key="name"), hint=hint)
    return name


def check_tag(tag: str) -> str:
    """Raises ``InvalidSpec``."""
    if not _TAG.fullmatch(tag):
        hint = "Use letters, digits, dots, dashes and underscores; begin with a letter (a number is a version)."
        raise InvalidSpec(f"{tag!r} cannot be a tag.", where=Where(key="tag"), hint=hint)
    return tag


def parse_ref(text: str) -> Ref:
    """``name`` alone means its latest version. Raises ``InvalidSpec``."""
    name, mark, rest = text.partition(":")
    check_name(name)
    if not mark:
        return Ref(name=name, version=None, tag=LATEST)
    if rest.isdecimal() and rest.isascii():
        return Ref(name=name, version=int(rest), tag="")
    return Ref(name=name, version=None, tag=check_tag(rest))
