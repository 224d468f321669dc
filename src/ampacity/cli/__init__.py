"""The terminal's face: ``main()``. Importing this costs nothing; a verb's code is loaded when it is called."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """The console script ``ampacity``."""
    from .root import cli

    cli.main(prog_name="ampacity")
