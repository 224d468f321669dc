"""The terminal's face: ``main()``. Importing this costs nothing; a verb's code is loaded when it is called."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """The console script ``ampacity``."""
    import io
    import sys

    from .root import cli

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character is no reason to fail
    cli.main(prog_name="ampacity")
