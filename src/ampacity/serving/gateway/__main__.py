"""``python -m ampacity.serving.gateway --table PATH --host 127.0.0.1 --port N``"""

from __future__ import annotations

import asyncio
import logging
import sys

import uvloop

from ampacity.model.errors import AmpacityError
from ampacity.serving import compiled


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if compiled.use():
        logging.info("the hot path is compiled")
    # Imported only now, so that the compiled modules are found.
    from ampacity.serving.routing import ROUTERS

    from .dispatching import run_dispatcher
    from .options import parse
    from .server import run
    from .workers import run_workers

    try:
        options = parse(None, list(ROUTERS))
        if options.dispatches and options.dispatcher is not None:
            uvloop.run(run_dispatcher(options, options.dispatcher))
        elif options.workers > 1:
            asyncio.run(run_workers(options))
        else:
            uvloop.run(run(options))
    except AmpacityError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
