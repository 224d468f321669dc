"""A driver in memory, for tests and for the simulator: members start and then wait until they are told what to do.

The script's side (``finish``, ``crash``, ``silence``, ``fail`` …) plays the machines; the other methods are the
:class:`~ampacity.drivers.base.Driver` that the control plane sees. All may be called from any thread.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ampacity.model.attempt import (
    Cause,
    CauseKind,
    MemberExited,
    MemberFact,
    MemberPreparing,
    MemberStarted,
)
from ampacity.model.errors import Conflict, DriverUnavailable, NotFound, Unsupported
from ampacity.model.ids import MemberKey, NodeId
from ampacity.model.node import Node
from ampacity.model.plan import Placement
from ampacity.model.resources import Allocation

from .base import Capabilities, Exec, FactPage, Handle, Launch, LogLine, LogPage, MemberFiles, TerminalSize

FIRST_PORT = 20_000


@dataclass(slots=True)
class _Member:
    key: MemberKey
    launch: Launch | None = None
    port: int | None = None
    running: bool = False
    stop_reason: str | None = None
    cause: Cause | None = None
    lines: list[LogLine] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    signals: list[int] = field(default_factory=list)

    @property
    def node(self) -> NodeId | None:
        return self.launch.node if self.launch else None


@dataclass(slots=True)
class _Fault:
    call: str
    error: Exception
    times: int
    key: MemberKey | None
    after: bool


class FakeDriver:
    """Scripted members on nodes that are only data.

    Args:
        nodes: what there is; their ``driver`` becomes this driver's name.
        clock: seconds since the epoch, for the times in facts.
        start_at_once: a member reports ``MemberStarted`` from within ``ensure_started``; else ``begin`` it.
        obey_stops: a member ends as soon as it is asked to; else it goes on until ``finish`` or ``crash``.
        double_facts: every fact is reported twice.
        decide: its pools place by themselves: where a member goes, whatever its launch says.

    ``starts`` counts how often each member really began, ``stops`` how often each was asked to stop.
    """

    def __init__(
        self,
        nodes: Iterable[Node] = (),
        *,
        name: str = "fake",
        clock: Callable[[], float] = time.time,
        start_at_once: bool = True,
        obey_stops: bool = True,
        double_facts: bool = False,
        decide: Callable[[Launch], Placement] | None = None,
    ) -> None:
        self.name = name
        self.start_at_once = start_at_once
        self.obey_stops = obey_stops
        self.double_facts = double_facts
        self._decide = decide
        self.starts: Counter[MemberKey] = Counter()
        self.stops: Counter[MemberKey] = Counter()
        self._clock = clock
        self._lock = threading.RLock()
        self._nodes = {node.id: replace(node, driver=name) for node in nodes}
        self._silent: dict[NodeId, list[MemberFact]] = {}
        self._members: dict[MemberKey, _Member] = {}
        self._facts: list[MemberFact] = []
        self._held: list[MemberFact] | None = None
        self._lose = 0
        self._faults: list[_Fault] = []
        self._wakes: list[Callable[[], None]] = []
        self._next_port = FIRST_PORT

    # The script's side ------------------------------------------------------------------------------------------

    def running(self) -> tuple[MemberKey, ...]:
        """The members that have begun and not ended, whether their node is silent or not."""
        with self._lock:
            return tuple(sorted(member.key for member in self._members.values() if member.running))

    def launch(self, key: MemberKey) -> Launch:
        """With what the member was started. Raises ``NotFound``."""
        launch = self._member(key).launch
        if launch is None:
            raise NotFound(f"member {key} was never started")
        return launch

    def begin(self, key: MemberKey) -> None:
        """Report that the member's process runs now (for ``start_at_once=False``)."""
        with self._lock:
            member = self._member(key)
            self._report(self._started(member))

    def finish(self, key: MemberKey, exit_code: int = 0) -> None:
        """The member's process exits by itself."""
        kind = CauseKind.COMPLETED if exit_code == 0 else CauseKind.EXIT
        self.crash(key, Cause(kind=kind, exit_code=exit_code))

    def crash(self, key: MemberKey, cause: Cause) -> None:
        """The member ends with that cause. Raises ``Conflict`` when it does not run."""
        with self._lock:
            if not self._member(key).running:
                raise Conflict(f"member {key} does not run")
            self._end(self._member(key), cause)

    def report(self, fact: MemberFact) -> None:
        """Any other fact, such as progress."""
        with self._lock:
            self._report(fact)

    def silence(self, node: NodeId | str) -> None:
        """The node stops answering. What runs there runs on; its facts come when it returns."""
        with self._lock:
            self._silent.setdefault(NodeId(node), [])

    def return_(self, node: NodeId | str) -> None:
        """The node answers again, and what happened there meanwhile is reported."""
        with self._lock:
            for fact in self._silent.pop(NodeId(node), []):
                self._report(fact)

    def reboot(self, node: NodeId | str) -> None:
        """Everything on the node dies; it comes back with another boot id."""
        with self._lock:
            node = NodeId(node)
            died = Cause(kind=CauseKind.SUPERVISOR_DIED, message="the machine was restarted while it ran")
            for member in [each for each in self._members.values() if each.node == node and each.running]:
                self._end(member, died)
            self._nodes[node] = replace(self._nodes[node], boot_id=f"{self._nodes[node].boot_id}+")

    def add_node(self, node: Node) -> None:
        with self._lock:
            self._nodes[node.id] = replace(node, driver=self.name)
            self._wake()

    def remove_node(self, node: NodeId | str) -> None:
        """Gone for good, with all that ran there and without a word."""
        with self._lock:
            self._silent.setdefault(NodeId(node), [])
            for member in self._members.values():
                if member.node == node:
                    member.running = False

    def fail(
        self, call: str, error: Exception, *, times: int = 1, key: MemberKey | None = None, after: bool = False
    ) -> None:
        """The next calls of that method (of that member) raise. ``after``: it does its work and loses the reply."""
        with self._lock:
            self._faults.append(_Fault(call, error, times, key, after))

    def lose_facts(self, count: int) -> None:
        """The next facts are never reported."""
        self._lose += count

    def hold_facts(self) -> None:
        """Keep the facts to come back until ``release_facts``."""
        with self._lock:
            self._held = self._held if self._held is not None else []

    def release_facts(self, *, shuffle_seed: int | None = None) -> None:
        """Report what was held back, in its own order or shuffled."""
        with self._lock:
            held, self._held = self._held or [], None
            if shuffle_seed is not None:
                random.Random(shuffle_seed).shuffle(held)
            for fact in held:
                self._report(fact)

    def print(self, key: MemberKey, text: str, *, rank: int = -1, stream: str = "out") -> None:
        """The member writes one line."""
        with self._lock:
            self._member(key).lines.append(LogLine(at=self._clock(), rank=rank, stream=stream, text=text))

    def write_file(self, key: MemberKey, path: str, data: bytes) -> None:
        """The member writes a file into its private folder."""
        with self._lock:
            self._member(key).files[path] = data

    def signals(self, key: MemberKey) -> tuple[int, ...]:
        """The signals that the member was sent."""
        return tuple(self._member(key).signals)

    # The driver's side ------------------------------------------------------------------------------------------

    def capabilities(self) -> Capabilities:
        return Capabilities(signal=True, logs=True, files=True, places_itself=self._decide is not None)

    def nodes(self) -> tuple[Node, ...]:
        with self._lock:
            self._inject("nodes", None, after=False)
            return tuple(node for node in self._nodes.values() if node.id not in self._silent)

    def ensure_started(self, launch: Launch) -> Handle:
        with self._lock:
            self._inject("ensure_started", launch.key, after=False)
            if launch.key not in self._members:
                launch = self._placed(launch)
                self._require_answering(launch.node)
                self._start(launch)
            node = self._members[launch.key].node or launch.node
            self._require_answering(node)
            self._inject("ensure_started", launch.key, after=True)
            return Handle(key=launch.key, node=node, ref=f"{self.name}:{launch.key}")

    def ensure_stopped(self, key: MemberKey, *, grace_s: float, reason: str) -> None:
        with self._lock:
            self._inject("ensure_stopped", key, after=False)
            member = self._members.setdefault(key, _Member(key=key))
            if member.node is not None:
                self._require_answering(member.node)
            self.stops[key] += 1
            if member.stop_reason is None:
                member.stop_reason = reason
                if member.launch is None or (member.running and self.obey_stops):
                    self._end(member, Cause(kind=CauseKind.STOPPED, message=reason))
            self._inject("ensure_stopped", key, after=True)

    def facts(self, cursor: str | None, *, limit: int = 1000) -> FactPage:
        with self._lock:
            self._inject("facts", None, after=False)
            start = int(cursor) if cursor is not None else 0
            page = tuple(self._facts[start : start + limit])
            return FactPage(facts=page, cursor=str(start + len(page)))

    def on_wake(self, wake: Callable[[], None]) -> None:
        with self._lock:
            self._wakes.append(wake)

    def signal(self, key: MemberKey, signum: int) -> None:
        member = self._reachable("signal", key)
        if not member.running:
            raise Conflict(f"member {key} does not run")
        member.signals.append(signum)

    def logs(self, key: MemberKey, cursor: str | None, *, limit: int = 1000) -> LogPage:
        member = self._reachable("logs", key)
        with self._lock:
            start = int(cursor) if cursor is not None else 0
            page = tuple(member.lines[start : start + limit])
            end = start + len(page)
            ended = member.cause is not None and end == len(member.lines)
            return LogPage(lines=page, cursor=str(end), ended=ended)

    def files(self, key: MemberKey, path: str, *, offset: int = 0, limit: int = 1 << 20) -> bytes:
        member = self._reachable("files", key)
        if path not in member.files:
            raise NotFound(f"member {key} has no file {path!r}")
        return member.files[path][offset : offset + limit]

    def member_files(self, key: MemberKey) -> MemberFiles:
        raise Unsupported("the fake driver has no files of members")

    def exec(self, key: MemberKey, argv: tuple[str, ...], *, terminal: TerminalSize | None = None) -> Exec:
        raise Unsupported(f"the {self.name} driver cannot run further commands in a member")

    def resize(self, key: MemberKey, allocation: Allocation) -> None:
        raise Unsupported(f"the {self.name} driver cannot resize a running member")

    def forget(self, key: MemberKey) -> None:
        with self._lock:
            self._inject("forget", key, after=False)
            member = self._members.get(key)
            if member is not None and member.cause is None:
                raise Conflict(f"member {key} has not ended")
            self._members.pop(key, None)

    def close(self) -> None:
        with self._lock:
            self._wakes.clear()

    # Inside -----------------------------------------------------------------------------------------------------

    def _member(self, key: MemberKey) -> _Member:
        member = self._members.get(key)
        if member is None:
            raise NotFound(f"no member {key} here")
        return member

    def _reachable(self, call: str, key: MemberKey) -> _Member:
        with self._lock:
            self._inject(call, key, after=False)
            member = self._member(key)
            if member.node is not None:
                self._require_answering(member.node)
            return member

    def _require_answering(self, node: NodeId) -> None:
        if node in self._silent or node not in self._nodes:
            raise DriverUnavailable(f"node {node} does not answer")

    def _placed(self, launch: Launch) -> Launch:
        if self._decide is None:
            return launch
        place = self._decide(launch)
        return replace(launch, node=place.node, allocation=place.allocation)

    def _start(self, launch: Launch) -> None:
        member = _Member(key=launch.key, launch=launch, running=True)
        member.files = {name: text.encode() for name, text in launch.files.items()}
        if launch.port is not None:
            member.port = launch.port or self._take_port()
        self._members[launch.key] = member
        self.starts[launch.key] += 1
        if launch.setup or not self.start_at_once:
            self._report(MemberPreparing(key=launch.key, at=self._clock()))
        if self.start_at_once:
            self._report(self._started(member))

    def _started(self, member: _Member) -> MemberStarted:
        launch = member.launch
        on = None
        if launch is not None and self._decide is not None:
            on = Placement(node=launch.node, allocation=launch.allocation)
        return MemberStarted(key=member.key, at=self._clock(), endpoint=self._endpoint(member), on=on)

    def _take_port(self) -> int:
        self._next_port += 1
        return self._next_port

    def _endpoint(self, member: _Member) -> str:
        node = self._nodes.get(member.node) if member.node else None
        return f"{node.address}:{member.port}" if node and member.port is not None else ""

    def _end(self, member: _Member, cause: Cause) -> None:
        member.running = False
        member.cause = replace(cause, last_lines=cause.last_lines or tuple(line.text for line in member.lines[-20:]))
        self._report(MemberExited(key=member.key, at=self._clock(), cause=member.cause))

    def _report(self, fact: MemberFact) -> None:
        member = self._members.get(fact.key)
        node = member.node if member else None
        if node in self._silent:
            self._silent[node].append(fact)
        elif self._held is not None:
            self._held.append(fact)
        elif self._lose > 0:
            self._lose -= 1
        else:
            self._facts.extend([fact] * (2 if self.double_facts else 1))
            self._wake()

    def _wake(self) -> None:
        for wake in self._wakes:
            wake()

    def _inject(self, call: str, key: MemberKey | None, *, after: bool) -> None:
        for fault in self._faults:
            if fault.call == call and fault.after == after and fault.key in (None, key) and fault.times > 0:
                fault.times -= 1
                raise fault.error


def open_driver(_folder: Path, nodes: Sequence[Node]) -> FakeDriver:
    """For the registry. The fake driver keeps nothing on disk."""
    return FakeDriver(nodes)
