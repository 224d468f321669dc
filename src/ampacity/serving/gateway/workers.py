"""Several workers that share one port (``SO_REUSEPORT``): their parent replaces each that dies."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from time import monotonic

from .options import Options
from .server import DRAIN_LIMIT_S, port_in_use

log = logging.getLogger(__name__)

SHORT_LIFE_S = 1.0
"""A worker that lived no longer is replaced after a pause, which doubles each time."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0


async def run_workers(options: Options) -> None:
    """Keep so many workers going until SIGTERM or SIGINT; then let them finish. Raises ``PortInUse``."""
    addresses = [(options.host, options.port)]
    if options.tls is not None:
        addresses.append((options.tls.host, options.tls.port))
    reserved = [reserve(*address) for address in addresses]
    ours, theirs = os.pipe()  # they read the one end, and know when the other one is gone
    folder = Path(tempfile.mkdtemp(prefix="ampacity-gateway-"))
    options = replace(options, dispatcher=folder / "dispatcher")
    family = Family(options, ours)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, family.stop)
    try:
        workers = [family.keep(f"worker {number}") for number in range(options.workers)]
        await asyncio.gather(family.keep("the dispatcher", "--dispatches"), *workers)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(theirs)
        for held in reserved:
            held.close()


def reserve(host: str, port: int) -> socket.socket:
    """Hold the port for the workers: nobody else has it, and nobody else gets it. Raises ``PortInUse``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))  # fails where another process listens, sharing or not
        held = socket.socket(family)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((host, port))  # it never listens, so no connection comes here
    except OSError as error:
        raise port_in_use(host, port, error) from error
    return held


class Family:
    """The workers."""

    def __init__(self, options: Options, parent_fd: int) -> None:
        self._options, self._parent_fd = options, parent_fd
        self._stopping = asyncio.Event()
        self._living: set[asyncio.subprocess.Process] = set()

    def stop(self) -> None:
        """Have all finish what is under way."""
        self._stopping.set()
        for process in self._living:
            process.terminate()

    async def keep(self, name: str, *more: str) -> None:
        """One process after another, until ``stop``."""
        pause_s = FIRST_PAUSE_S
        while not self._stopping.is_set():
            began = monotonic()
            code = await self._live(more)
            if self._stopping.is_set():
                return
            log.error("%s ended with %s and is replaced", name, code)
            pause_s = FIRST_PAUSE_S if monotonic() - began > SHORT_LIFE_S else min(LONGEST_PAUSE_S, 2 * pause_s)
            if pause_s > FIRST_PAUSE_S:
                await self._wait(pause_s)

    async def _live(self, more: tuple[str, ...]) -> int:
        command = worker_command(self._options, self._parent_fd)
        process = await asyncio.create_subprocess_exec(*command, *more, pass_fds=(self._parent_fd,))
        self._living.add(process)
        try:
            if self._stopping.is_set():
                process.terminate()
            if await self._ended(process):
                return process.returncode or 0
            process.kill()
            return await process.wait()
        finally:
            self._living.discard(process)

    async def _ended(self, process: asyncio.subprocess.Process) -> bool:
        """Wait for its end; ``False`` = it was told to and has not come to it."""
        waiting = asyncio.ensure_future(process.wait())
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((waiting, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        done, _ = await asyncio.wait((waiting,), timeout=DRAIN_LIMIT_S + 5.0)
        return bool(done)

    async def _wait(self, pause_s: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), pause_s)
        except TimeoutError:
            return


def worker_command(options: Options, parent_fd: int) -> list[str]:
    """A worker's command line: the parent's, but for the number of workers."""
    command = [sys.executable, "-m", "ampacity.serving.gateway", "--parent-fd", str(parent_fd)]
    command += ["--table", str(options.table), "--host", options.host, "--port", str(options.port)]
    tls = [] if options.tls is None else options.tls.arguments()
    return [*command, "--router", options.router, "--dispatcher", str(options.dispatcher), *tls]
