"""``python -I <this folder> agent.json``: holds the ranks of one member until they have ended."""

from __future__ import annotations

import os
import sys

if not __package__:
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    __package__ = "agent"

from .config import read_config
from .loop import Agent


def main() -> int:
    return Agent(read_config(sys.argv[1])).run()


if __name__ == "__main__":
    sys.exit(main())
