"""``python -m ampacity.serving.gateway --table PATH --host 127.0.0.1 --port N``"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import uvloop

from ampacity.model.errors import AmpacityError

from .server import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="ampacity.serving.gateway")
    parser.add_argument("--table", type=Path, required=True, help="the routing table's file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        uvloop.run(run(options.table, host=options.host, port=options.port))
    except AmpacityError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
