"""What is wrong in a file, gathered; then raised as one error."""

from __future__ import annotations

from dataclasses import dataclass, field

from ampacity.model.errors import InvalidSpec, Where

Path = tuple[str | int, ...]
"""Keys and positions from the top of a document."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """``line`` counts from 1; 0 = unknown."""

    message: str
    path: Path = ()
    line: int = 0
    hint: str = ""


@dataclass(slots=True)
class Mistakes:
    """All mistakes of one file, in the order in which they were found."""

    file: str = ""
    found: list[Mistake] = field(default_factory=list)

    def add(self, mistake: Mistake) -> None:
        self.found.append(mistake)

    def raise_any(self) -> None:
        """Raises ``InvalidSpec`` about the topmost mistake; its hint goes on to name the others."""
        if not self.found:
            return
        ordered = sorted(dict.fromkeys(self.found), key=lambda each: each.line)
        first, others = ordered[0], ordered[1:]
        hint = first.hint
        if others:
            also = [f"{self._where(each)}: {each.message} {each.hint}".strip(": ") for each in others[:_MOST_NAMED]]
            more = [f"{len(others) - _MOST_NAMED} more."] if len(others) > _MOST_NAMED else []
            hint = "\n".join([hint, "Also wrong:", *also, *more]).strip()
        raise InvalidSpec(first.message, where=self._where(first), hint=hint)

    def _where(self, mistake: Mistake) -> Where:
        return Where(file=self.file, line=mistake.line, key=key_text(mistake.path))


_MOST_NAMED = 20


def key_text(path: Path) -> str:
    """``resources.cpus``, ``after[1]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if len(part) <= 60 else part[:57] + "..."
            text += f".{shown}" if text else shown
    return text
