"""The soak's stage: a platform of real processes, what was asked of it, and what was killed in it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import assert_never

import psutil
from soak_jobs import Draft, Job, Submission, service, submission
from soak_oracle import Deeds

from ampacity import __version__
from ampacity.api.versions import AGENT
from ampacity.api.wire import KEY_HEADER, error_from_wire
from ampacity.client.connection import Connections, Response, TransportError
from ampacity.client.locate import locate
from ampacity.model.codec import encode
from ampacity.model.errors import AmpacityError, Conflict, InvalidSpec, NotFound, NotRunning
from ampacity.model.node import NodeCondition
from ampacity.model.workload import WorkloadSpec
from whole_platform import Platform

NODES = ("n1:cpus=4,memory=4GB", "n2:cpus=3,memory=4GB")
MOST_LIVE = 24
MOST_SERVICES = 2
MOST_JUMP_S = 30.0
CLOCK = Path(__file__).with_name("clock")


class Victim(StrEnum):
    """What is killed. ``all``: the control plane, the warm parent and a supervisor at once."""

    CONTROL = "control plane"
    PARENT = "warm parent"
    PARENT_AND_CONTROL = "warm parent and control plane"
    SUPERVISOR = "supervisor"
    JOB = "job"
    RANK = "rank"
    ALL = "all"


@dataclass(slots=True, kw_only=True)
class Entry:
    """A workload that was submitted. ``sure``: it was acknowledged. ``replicas`` is what was wished for last, if that
    was acknowledged too."""

    job: Job
    ident: str = ""
    sure: bool = False
    stopped: bool = False
    kills: int = 0
    replicas: int | None = None

    @property
    def deeds(self) -> Deeds:
        return Deeds(stopped=self.stopped, kills=self.kills)


@dataclass(slots=True)
class Scene:
    """Carries out what it is told, and keeps account of what that may have done to whom."""

    platform: Platform
    folder: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    trouble: list[str] = field(default_factory=list)
    live: frozenset[str] = frozenset()
    _number: int = 0
    _clock_s: float = 0.0
    _kills: list[threading.Thread] = field(default_factory=list)
    _accounts: threading.Lock = field(default_factory=threading.Lock)

    @property
    def clock(self) -> Path:
        return self.folder / "clock"

    def begin(self) -> None:
        for name in ("starts", "locks", "work"):
            (self.folder / name).mkdir(parents=True)
        self.clock.write_bytes(struct.pack("d", 0.0))
        os.environ |= {"SOAK_CLOCK": str(self.clock), "PYTHONPATH": str(CLOCK)}  # of all that is started from here
        self.platform.up(*NODES)

    # What is asked of it ---------------------------------------------------------------------------------------------

    def submit(self, draft: Draft, pick: int, *, twice: bool = False) -> None:
        """``twice``: by two at the same time with one idempotency key."""
        if self._is_full(pick):
            return
        self._number += 1
        after = self._pick([e.job.name for e in self.entries.values() if e.job.end and e.sure][-8:], pick)
        self._hand_in(submission(draft, self._number, self.folder, after=after), twice=twice)

    def serve(self, replicas: int, pick: int) -> None:
        serving = sum(self.entries[name].job.serves for name in self.live)
        if serving < MOST_SERVICES and not self._is_full(pick):
            self._number += 1
            self._hand_in(service(self._number, self.folder, replicas=replicas))

    def _is_full(self, pick: int) -> bool:
        """Room is made by those that would never end; the others are waited for."""
        if len(self.live) < MOST_LIVE:
            return False
        self.stop(self._pick(sorted(name for name in self.live if not self.entries[name].job.end), pick))
        return True

    def _hand_in(self, given: Submission, *, twice: bool = False) -> None:
        for job in given.jobs:
            self.entries[job.name] = Entry(job=job, replicas=given.spec.replicas)
        try:
            idents = self._idents_of(given, twice=twice)
        except InvalidSpec:  # the one that it comes after has failed by now
            for job in given.jobs:
                del self.entries[job.name]
            self.done["submissions refused"] += 1
            return
        for job, ident in zip(given.jobs, idents, strict=True):
            self.entries[job.name].ident, self.entries[job.name].sure = ident, True
        self.live |= {job.name for job in given.jobs}

    def _idents_of(self, given: Submission, *, twice: bool) -> tuple[str, ...]:
        client = self.platform.client
        if given.indices:
            return client.submit_array(given.spec, given.indices).workloads
        if twice:
            return (self._sent_twice(given.spec),)
        return (client.submit(given.spec).workload.id,)

    def _sent_twice(self, spec: WorkloadSpec) -> str:
        """Its id. Raises ``NotRunning`` when neither was answered, or what it was refused with."""
        body = encode({"spec": spec, "project": "default", "owner": "default"})
        headers = {KEY_HEADER: secrets.token_hex(16)}
        answers: list[Response] = []

        def send() -> None:
            with contextlib.suppress(TransportError, AmpacityError), contextlib.closing(self._connections()) as open_:
                answers.append(open_.call("POST", "/api/v1/workloads", body, headers=headers, timeout_s=30.0))

        _all_at_once(send, send)
        made = {json.loads(each.content)["workloads"][0]["workload"]["id"] for each in answers if each.status == 201}
        if len(made) > 1:
            self.trouble.append(f"{spec.name} was sent twice with one key, and became {sorted(made)}")
        if made:
            return made.pop()
        for refused in (each for each in answers if each.status < 500):
            raise error_from_wire(json.loads(refused.content)["error"], status=refused.status)
        raise NotRunning(f"nobody answered to {spec.name}")

    def _connections(self) -> Connections:
        return Connections(locate(self.platform.state_dir), {"User-Agent": f"{AGENT}{__version__}"})

    def stop_one(self, pick: int) -> None:
        self.stop(self._pick(sorted(self.live), pick))

    def stop(self, name: str) -> None:
        """Wish that it stops; whether the wish got through is not always known."""
        entry = self.entries.get(name)
        if entry is None:
            return
        entry.stopped = True
        with contextlib.suppress(Conflict, NotFound):
            self.platform.client.stop(name)

    def scale_one(self, replicas: int, pick: int) -> None:
        name = self._pick([name for name in sorted(self.live) if self.entries[name].job.serves], pick)
        if name:
            self.entries[name].replicas = None
            with contextlib.suppress(Conflict):
                self.platform.client.scale(name, replicas)
                self.entries[name].replicas = replicas

    def set_condition(self, node: str, condition: NodeCondition) -> None:
        self.platform.client.set_condition(node, condition)

    def jump_clock(self, by_s: float) -> None:
        """The clocks of the control plane, the gateway and the collector, and of agents that are started by then."""
        self._clock_s = max(-MOST_JUMP_S, min(MOST_JUMP_S, self._clock_s + by_s))
        with self.clock.open("r+b") as file:
            file.write(struct.pack("d", self._clock_s))

    @staticmethod
    def _pick(names: list[str], pick: int) -> str:
        return names[pick % len(names)] if names else ""

    # Kills ---------------------------------------------------------------------------------------------------------

    def kill(self, victim: Victim, pick: int, delay_s: float) -> None:
        """A little later, while other things are under way."""
        thread = threading.Timer(delay_s, self._kill, [victim, pick])
        self._kills.append(thread)
        thread.start()

    def _kill(self, victim: Victim, pick: int) -> None:
        match victim:
            case Victim.CONTROL:
                self._kill_control()
            case Victim.PARENT:
                self._kill_parent()
            case Victim.PARENT_AND_CONTROL:
                self._kill_parent()
                self._kill_control()
            case Victim.SUPERVISOR | Victim.JOB | Victim.RANK:
                self._kill_member(victim, pick)
            case Victim.ALL:
                _all_at_once(self._kill_control, self._kill_parent, lambda: self._kill_member(Victim.SUPERVISOR, pick))
            case _:
                assert_never(victim)

    def settle_kills(self) -> None:
        for thread in self._kills:
            thread.join()
        self._kills.clear()

    def _kill_control(self) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            pid = json.loads((self.platform.state_dir / "control.json").read_text())["pid"]
            if str(self.platform.state_dir) in Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)

    def _kill_parent(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._kill_named(int((self.platform.state_dir / "local" / "parent.lock").read_text()))

    def _kill_member(self, victim: Victim, pick: int) -> None:
        """A supervisor, the process of a job, or a rank, of a member that has not ended."""
        names = sorted(path.parent.name for path in self.platform.state_dir.glob("local/members/*/state.json"))
        alive = [name for name in names if not self._member_file(name, "exit.json").exists()]
        if victim is Victim.RANK:
            alive = [name for name in alive if self._member_file(name, "agent.json").exists()]
        name = self._pick(alive, pick)
        if not name:
            return
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, psutil.Error):
            state = json.loads(self._member_file(name, "state.json").read_text())
            self._count_kill(name.partition(".")[0])
            if victim is Victim.SUPERVISOR:
                self._kill_named(state["pid"])
            elif str(self.platform.state_dir).encode() in Path(f"/proc/{state['child_pid']}/environ").read_bytes():
                child = psutil.Process(state["child_pid"])
                ranks = [each for each in child.children() if "RANK" in each.environ()]
                chosen = ranks[pick % len(ranks)] if victim is Victim.RANK and ranks else child
                chosen.kill()

    def _member_file(self, member: str, name: str) -> Path:
        return self.platform.state_dir / "local" / "members" / member / name

    def _count_kill(self, ident: str) -> None:
        """Before it is done. A workload whose submission was cut is known by its name alone, which its job tells."""
        with self._accounts:
            for entry in self.entries.values():
                if entry.ident == ident or not entry.ident:
                    entry.kills += 1

    @staticmethod
    def _kill_named(pid: int) -> None:
        """Only if it is one of ours: pids are given out again."""
        if Path(f"/proc/{pid}/comm").read_text().startswith("ampacity-"):
            os.kill(pid, signal.SIGKILL)

    # Ups -----------------------------------------------------------------------------------------------------------

    def restart(self) -> None:
        self.platform.client.shutdown()
        self.ensure_up()

    def ensure_up(self) -> None:
        """Start a control plane where none answers. A kill may fall into the middle of that."""
        for _ in range(20):
            said = self.platform.ampacity("up", "--port", "0", "--gateway-port", "0")
            if said.code == 0:
                return
            self.done["starts of a control plane that were cut short"] += 1
        self.trouble.append(f"no control plane comes up: {said.err}")

    def two_ups(self) -> None:
        """At the same time, on one folder: one starts, and both say that one runs."""
        self.settle_kills()
        said: list[str] = []

        def up() -> None:
            done = self.platform.ampacity("up", "--port", "0", "--gateway-port", "0")
            if done.code:
                said.append(done.err)

        _all_at_once(up, up)
        self.trouble.extend(f"one of two starts at once: {words}" for words in said)

    def overlaps(self) -> Iterator[str]:
        noted = self.folder / "overlaps"
        if noted.exists():
            yield f"began while an earlier attempt was alive: {noted.read_text().split()}"

    def answers(self) -> bool:
        try:
            self.platform.client.status()
        except AmpacityError:
            return False
        return True

    def look(self) -> Iterator[str]:
        """What of all that the API and the jobs' notes show cannot be: more given out than there is, two attempts of
        one replica, one that began beside another, no answer to why."""
        views = list(self.platform.client.workloads(page=1000))
        self.live = frozenset(v.workload.name for v in views if not v.workload.phase.ended) & self.entries.keys()
        for view in views:
            alive = Counter(attempt.replica for attempt in view.attempts if not attempt.phase.ended)
            for replica, count in alive.items():
                if count > 1:
                    yield f"{view.workload.name}: replica {replica} has {count} live attempts"
        for seen in self.platform.client.nodes():
            if seen.used.cpu_milli > seen.node.cpu_milli or seen.used.memory_bytes > seen.node.memory_bytes:
                yield f"more is given out on {seen.node.id} than there is: {seen.used}"
        yield from self.overlaps()
        for view in views[:1]:
            if not self.platform.client.why(view.workload.id).headline:
                yield f"nothing says why {view.workload.name} is {view.workload.phase}"


def _all_at_once(*deeds: Callable[[], object]) -> None:
    threads = [threading.Thread(target=deed) for deed in deeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
