"""The soak's stage: a platform of real processes, what was asked of it, and what was killed in it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from soak_actions import Action, Verb
from soak_jobs import Job, Submission, draw
from soak_oracle import Deeds

from ampacity.model.errors import AmpacityError, Conflict, InvalidSpec, NotFound, NotRunning
from ampacity.model.node import NodeCondition
from whole_platform import Platform

NODES = ("n1:cpus=4,memory=4GB", "n2:cpus=3,memory=4GB")
MOST_LIVE = 24
MOST_SERVICES = 2


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
    """Carries out actions, and keeps account of what they may have done to whom."""

    platform: Platform
    folder: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    trouble: list[str] = field(default_factory=list)
    live: frozenset[str] = frozenset()
    _number: int = 0
    _kills: list[threading.Thread] = field(default_factory=list)
    _accounts: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        for name in ("starts", "locks"):
            (self.folder / name).mkdir()
        self.platform.up(*NODES)

    # Actions -------------------------------------------------------------------------------------------------------

    def carry_out(self, action: Action) -> None:
        """Do it; what it meets while the control plane is away is no news."""
        self.done[action.verb] += 1
        with contextlib.suppress(NotRunning):
            self._act(action)

    def _act(self, action: Action) -> None:
        match action.verb:
            case Verb.SUBMIT:
                self._submit(action)
            case Verb.STOP:
                self.stop(self._pick(sorted(self.live), action))
            case Verb.SCALE:
                self._scale(action)
            case Verb.CORDON | Verb.UNCORDON:
                condition = NodeCondition.CORDONED if action.verb is Verb.CORDON else NodeCondition.READY
                self.platform.client.set_condition("n2" if action.pick < 0.7 else "n1", condition)
            case Verb.KILL_CONTROL:
                self._beside(action, self._kill_control)
            case Verb.KILL_PARENT:
                self._beside(action, self._kill_parent)
            case Verb.KILL_BOTH:
                self._beside(action, lambda: (self._kill_parent(), self._kill_control()))
            case Verb.KILL_SUPERVISOR | Verb.KILL_JOB:
                self._beside(action, lambda: self._kill_member(action))
            case Verb.RESTART:
                self.platform.client.shutdown()
                self.ensure_up()
            case Verb.TWO_UPS:
                self._two_ups()

    def _submit(self, action: Action) -> None:
        if len(self.live) >= MOST_LIVE:  # room is made by those that would never end; the others are waited for
            self.stop(self._pick(sorted(name for name in self.live if not self.entries[name].job.end), action))
            return
        self._number += 1
        dice = random.Random(action.seed)
        after = self._pick([e.job.name for e in self.entries.values() if e.job.end and e.sure][-8:], action)
        served = sum(self.entries[name].job.serves for name in self.live if name in self.entries)
        given = draw(dice, self._number, self.folder, after=after, services=served < MOST_SERVICES)
        for job in given.jobs:
            self.entries[job.name] = Entry(job=job, replicas=given.spec.replicas)
        try:
            idents = self._hand_in(given)
        except InvalidSpec:  # the one that it comes after has failed by now
            for job in given.jobs:
                del self.entries[job.name]
            self.done["submissions refused"] += 1
            return
        for job, ident in zip(given.jobs, idents, strict=True):
            self.entries[job.name].ident, self.entries[job.name].sure = ident, True
        self.live |= {job.name for job in given.jobs}

    def _hand_in(self, given: Submission) -> tuple[str, ...]:
        client = self.platform.client
        if given.indices:
            return client.submit_array(given.spec, given.indices).workloads
        return (client.submit(given.spec).workload.id,)

    def stop(self, name: str) -> None:
        """Wish that it stops; whether the wish got through is not always known."""
        entry = self.entries.get(name)
        if entry is None:
            return
        entry.stopped = True
        with contextlib.suppress(Conflict, NotFound):
            self.platform.client.stop(name)

    def _scale(self, action: Action) -> None:
        services = [name for name in sorted(self.live) if name in self.entries and self.entries[name].job.serves]
        name = self._pick(services, action)
        if name:
            self.entries[name].replicas = None
            replicas = random.Random(action.seed).randint(0, 3)
            with contextlib.suppress(Conflict):
                self.platform.client.scale(name, replicas)
                self.entries[name].replicas = replicas

    @staticmethod
    def _pick(names: list[str], action: Action) -> str:
        return names[int(action.pick * len(names))] if names else ""

    # Kills ---------------------------------------------------------------------------------------------------------

    def _beside(self, action: Action, kill: Callable[[], object]) -> None:
        """A little later, while other actions are under way."""
        thread = threading.Timer(action.delay_s, kill)
        self._kills.append(thread)
        thread.start()

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

    def _kill_member(self, action: Action) -> None:
        """A supervisor, or the process of a job, of a member that has not ended."""
        names = sorted(path.parent.name for path in self.platform.state_dir.glob("local/members/*/state.json"))
        alive = [name for name in names if not self._member_file(name, "exit.json").exists()]
        name = self._pick(alive, action)
        if not name:
            return
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            state = json.loads(self._member_file(name, "state.json").read_text())
            self._count_kill(name.partition(".")[0])
            if action.verb is Verb.KILL_SUPERVISOR:
                self._kill_named(state["pid"])
            elif str(self.platform.state_dir).encode() in Path(f"/proc/{state['child_pid']}/environ").read_bytes():
                os.kill(state["child_pid"], signal.SIGKILL)

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

    def ensure_up(self) -> None:
        """Start a control plane where none answers. A kill may fall into the middle of that."""
        for _ in range(20):
            said = self.platform.ampacity("up", "--port", "0", "--gateway-port", "0")
            if said.code == 0:
                return
            self.done["starts of a control plane that were cut short"] += 1
        self.trouble.append(f"no control plane comes up: {said.err}")

    def _two_ups(self) -> None:
        """At the same time, on one folder: one starts, and both say that one runs."""
        self.settle_kills()
        said: list[str] = []

        def up() -> None:
            done = self.platform.ampacity("up", "--port", "0", "--gateway-port", "0")
            if done.code:
                said.append(done.err)

        threads = [threading.Thread(target=up) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.trouble.extend(f"one of two starts at once: {words}" for words in said)

    def answers(self) -> bool:
        try:
            self.platform.client.status()
        except AmpacityError:
            return False
        return True

    def look(self) -> Iterator[str]:
        """What the API shows, and what of it cannot be: more given out than there is, two attempts of one replica."""
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
