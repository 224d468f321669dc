"""The collector: one process a node, one sample a second of the machine, its members and their ranks.

``python -m ampacity.observe.collector --state DIR``. It writes ring files below ``metrics`` in the state folder and
nothing else. Devices are read by probes in processes of their own. It ends when it is told to (SIGTERM), when another
one takes over, or, once whoever started it is gone, when no member runs any more.
"""

from __future__ import annotations

import argparse
import gc
import logging
import math
import os
import sys
import time
from collections.abc import Sequence

from .columns import HOST
from .device_rings import DeviceRings
from .devices.registry import present
from .host import HostSampler
from .kept_process import KeptProcess
from .lock import Busy, take_over
from .members import MemberFeed
from .meters import HostUse, MemberMeter
from .places import HOST_RING, LOCK, LOG, metrics_folder, probe_beat
from .processes import ProcessTable
from .pulse import Pulse
from .retention import drop_old, put_aside, put_aside_all_but
from .ring import Layout, RingWriter

PROCESSES_EVERY = 2
"""New processes are looked for with every second sample, and with each that sees a new member."""

IO_EVERY = 5
"""Processes' I/O, which costs a read of its own, is looked at with every fifth sample."""

TIDY_EVERY_S = 60.0
LINGER_S = 2.0
"""How long it goes on without members after whoever started it is gone: the next one may come."""

PROBE_SILENT_S = 20.0
"""A probe that has written nothing for so long hangs, and is killed."""

log = logging.getLogger("ampacity.collector")


class Collector:
    """What is sampled; one call of :meth:`sample` a second. Raises ``OSError`` when its folder cannot be used.

    A file that cannot be written (a full disk) loses its samples, and nothing else.
    """

    def __init__(self, state_dir: str) -> None:
        self.folder = metrics_folder(state_dir)
        self._host_ring = RingWriter(os.path.join(self.folder, HOST_RING), Layout("host", HOST, {}))
        last = self._host_ring.found
        index = self._host_ring.layout.index
        self._energy_column = index["energy_j"] - 1
        self._host = HostSampler(energy_j=0.0 if last is None else last[index["energy_j"]])
        self._host_before: tuple[float, float] | None = None
        self._devices = DeviceRings(self.folder)
        self._members = MemberFeed(os.path.join(state_dir, "local"))
        self._processes = ProcessTable()
        self._meters: dict[str, MemberMeter] = {}
        self._samples = 0
        self._tidy_at = self._told_at = -math.inf
        self._all_known = False

    @property
    def members(self) -> int:
        """How many run now."""
        return len(self._meters)

    def sample(self, at: float) -> None:
        self._devices.look(at)
        host = self._sample_host(at)
        begun = self._follow_members(at)
        if begun or self._samples % PROCESSES_EVERY == 0:
            self._processes.look()
        io = self._samples % IO_EVERY == 0
        for name, meter in self._meters.items():
            try:
                gone = meter.sample(at, self._processes.of_member[name].values(), host, self._devices, io=io)
                self._processes.forget(gone)
            except OSError as error:
                self._lost(at, name, error)
        self._samples += 1
        if at - self._tidy_at >= TIDY_EVERY_S:
            self._tidy_at = at
            drop_old(self.folder, at)

    def close(self) -> None:
        for meter in self._meters.values():
            meter.close()
        self._members.close()
        self._devices.close()
        self._host_ring.close()

    def _sample_host(self, at: float) -> HostUse:
        values = self._host.sample()
        energy_j, before = values[self._energy_column], self._host_before
        self._host_before = (self._host.cpu_s, energy_j)
        try:
            self._host_ring.append(at, values)
        except OSError as error:
            self._lost(at, "the host", error)
        if before is None:
            return HostUse(cpu_s=0.0, energy_j=math.nan)
        return HostUse(cpu_s=self._host.cpu_s - before[0], energy_j=energy_j - before[1])

    def _follow_members(self, at: float) -> bool:
        turns = self._members.look()
        for name in turns.ended:
            self._processes.remove(name)
            meter = self._meters.pop(name, None)
            if meter is not None:
                meter.close()
                put_aside(self.folder, name)
        for member in turns.begun:
            try:
                self._meters[member.name] = MemberMeter(member, self.folder, self._devices)
            except OSError as error:
                self._lost(at, member.name, error)
            else:
                self._processes.add(member.name, member.supervisor, ranked=member.ranks > 0)
        if not self._all_known:
            self._all_known = True
            put_aside_all_but(self.folder, self._meters.keys())
        return bool(turns.begun)

    def _lost(self, at: float, what: str, error: OSError) -> None:
        """Say that samples could not be written; not every second."""
        if at - self._told_at >= TIDY_EVERY_S:
            self._told_at = at
            log.warning("samples of %s are lost: %s", what, error)


class Probes:
    """The devices' probes: started where a driver is loaded, started again when they end, killed when they hang."""

    def __init__(self, folder: str, readers: Sequence[str], *, silent_s: float = PROBE_SILENT_S) -> None:
        self._folder, self._given, self._patience_s = folder, tuple(readers), silent_s
        self._kept: dict[str, KeptProcess] = {}
        self._looked_at = -math.inf

    def tend(self, now: float) -> None:
        """``now``: monotonic seconds."""
        if now - self._looked_at >= TIDY_EVERY_S:
            self._looked_at = now
            for name in self._given or present():
                if name not in self._kept:
                    arguments = ["--folder", self._folder, "--reader", name, "--beat", self._beat(name)]
                    log_path = os.path.join(self._folder, LOG)
                    self._kept[name] = KeptProcess("ampacity.observe.device_probe", arguments, log_path=log_path)
        for name, process in self._kept.items():
            process.tend()
            if process.age_s(now) > self._patience_s and self._silent_s(name) > self._patience_s:
                log.warning("the probe of %s hangs: it is killed", name)
                process.kill()

    @property
    def pids(self) -> list[int | None]:
        return [process.pid for process in self._kept.values()]

    def close(self) -> None:
        """Kill them: they hold nothing that has to be put down, and one that hangs would not hear a question."""
        for process in self._kept.values():
            process.close(ask=False)

    def _beat(self, name: str) -> str:
        return os.path.join(self._folder, probe_beat(name))

    def _silent_s(self, name: str) -> float:
        try:
            return time.time() - os.stat(self._beat(name)).st_mtime
        except FileNotFoundError:
            return math.inf


def run(state_dir: str, readers: Sequence[str], lease: int | None) -> None:
    """Sample until the end. Raises ``Busy``, ``OSError``."""
    folder = metrics_folder(state_dir)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    pulse = Pulse(lease)
    lock = take_over(os.path.join(folder, LOCK))
    collector, probes = Collector(state_dir), Probes(folder, readers)
    gc.collect()
    gc.freeze()
    alone_since = math.inf
    try:
        while not pulse.ending:
            at, now = pulse.wait(), time.monotonic()
            collector.sample(at)
            probes.tend(now)
            alone = pulse.orphaned and not collector.members
            alone_since = min(alone_since, now) if alone else math.inf
            if now - alone_since >= LINGER_S:
                log.info("whoever started this is gone, and no member runs: this ends, too")
                return
    finally:
        probes.close()
        collector.close()
        os.close(lock)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ampacity.observe.collector", description="Watch this machine.")
    parser.add_argument("--state", required=True, metavar="DIR", help="the state folder")
    parser.add_argument("--reader", action="append", default=[], help="read devices by this, not by what is found")
    parser.add_argument("--lease-fd", type=int, metavar="FD", help="a pipe that whoever starts this holds open")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    try:
        run(options.state, options.reader, options.lease_fd)
    except (Busy, OSError) as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
