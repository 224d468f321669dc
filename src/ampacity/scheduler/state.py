"""The scheduler's input: what is alive, what there is and what is left, kept current by events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ampacity.model.attempt import Attempt
from ampacity.model.event import Event, EventKind, Row, Rows, Table, row_key
from ampacity.model.history import RuntimeHistory, Usage, runtime_key
from ampacity.model.ids import DEFAULT_QUEUE, AttemptId, NodeId, QueueName, WorkloadId
from ampacity.model.node import Node, Pool
from ampacity.model.policy import DEFAULT_POLICY, SchedulerPolicy
from ampacity.model.queue import Queue
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.site import EMPTY_SITE, Site
from ampacity.model.workload import Desired, Replica, ReplicaPhase, SpecRevision, Wish, Workload, WorkloadSpec

from .backfill.horizon import Horizon, end_of
from .chooser import Policies
from .columns import Answers
from .demand import Demand
from .fleet import Fleet
from .gang import Gang, Name
from .neighbours import Neighbours
from .order import Line, Want
from .ordering.registry import order_of
from .paces import Paces
from .paths import along, longest_s
from .preempting.claims import Claim
from .preempting.runners import Runner, Runners
from .queues.accounts import Accounts
from .queues.heads import Head
from .queues.shares import Shares, kinds_of

NAMES_KEPT = 10_000
"""Of so many workloads that have ended the names are remembered, for explanations that are read a little later."""

ReplicaKey = tuple[WorkloadId, int]


@dataclass(slots=True)
class Live:
    """A workload that has not ended, with its rows."""

    workload: Workload
    desired: Desired | None = None
    specs: dict[int, SpecRevision] = field(default_factory=dict)
    replicas: dict[int, Replica] = field(default_factory=dict)

    @property
    def spec(self) -> WorkloadSpec | None:
        """The revision in force, if its row is there."""
        revision = self.specs.get(self.workload.spec_revision)
        return None if revision is None else revision.spec


@dataclass(slots=True)
class State:
    """All that deciding needs. Rows of ended workloads are dropped, all but those that a live one comes ``after``.

    Two states that hold the same rows are equal, however they came about: built at once or by single events. Attempts
    hold their resources until they have ended, whatever the phase of their workload.

    Attributes:
        live: workloads that have not ended.
        ended: the workloads that have ended and that a live one comes after.
        dependants: by workload, the live ones that come after it.
        attempts: those that have not ended.
        attempts_of: their ids, by replica.
        fleet: nodes, what is held there and what is left.
        policy: the settings in force.
        usage: what each owner has used of each queue; without what runs.
        runtimes: how long jobs of each kind took.
        paces: how fast live workloads run on the kinds that they may have. It follows from the rest.
        shares, accounts: what each queue and each owner in it holds. They follow from the rest.
        horizon, orders, learned: what plans found out about ends and turns, and how often ``runtimes`` changed.
        neighbours: which workloads keep apart, and where they are.
        answers: how requests fit, as earlier plans found out. They follow from the rest.
        demand: what live workloads ask for. It follows from the rest.
        policies: placement policies with what they have worked out. It follows from the rest.
        line: the replicas that want a start, in order. It follows from the rest.
        runners: what runs, by who may take its place, and what is leaving. It follows from the rest.
    """

    seq: int = 0
    live: dict[WorkloadId, Live] = field(default_factory=dict)
    ended: dict[WorkloadId, Workload] = field(default_factory=dict)
    dependants: dict[WorkloadId, set[WorkloadId]] = field(default_factory=dict)
    attempts: dict[AttemptId, Attempt] = field(default_factory=dict)
    attempts_of: dict[ReplicaKey, set[AttemptId]] = field(default_factory=dict)
    fleet: Fleet = field(default_factory=Fleet)
    neighbours: Neighbours = field(default_factory=Neighbours)
    pools: dict[str, Pool] = field(default_factory=dict)
    queues: dict[str, Queue] = field(default_factory=dict)
    policy: SchedulerPolicy = DEFAULT_POLICY
    usage: dict[str, Usage] = field(default_factory=dict)
    runtimes: dict[str, RuntimeHistory] = field(default_factory=dict)
    paces: Paces = field(default_factory=Paces, compare=False, repr=False)
    shares: Shares = field(default_factory=Shares)
    accounts: Accounts = field(default_factory=Accounts)
    line: Line = field(default_factory=Line, compare=False, repr=False)
    runners: Runners = field(default_factory=Runners, compare=False, repr=False)
    answers: dict[ResourceRequest, Answers] = field(default_factory=dict, compare=False, repr=False)
    demand: Demand = field(default_factory=Demand, compare=False, repr=False)
    policies: Policies = field(default_factory=Policies, compare=False, repr=False)
    _left: dict[WorkloadId, tuple[int, str]] = field(default_factory=dict, compare=False, repr=False)
    _touched: set[WorkloadId] = field(default_factory=set, compare=False, repr=False)
    horizon: Horizon = field(default_factory=Horizon, compare=False, repr=False)
    orders: dict[str, tuple[tuple[object, ...], tuple[Head, ...]]] = field(
        default_factory=dict, compare=False, repr=False
    )
    learned: int = field(default=0, compare=False, repr=False)
    _another_tree: bool = field(default=False, compare=False, repr=False)
    _another_policy: bool = field(default=False, compare=False, repr=False)

    def apply(self, event: Event) -> None:
        """Take in one event of the log. Rows of workloads that are not held (they have ended) are passed over.

        A workload is submitted ``after`` live ones only: those that have succeeded are left out by then, and its event
        touches the others, so that none can have ended unseen.
        """
        changes = event.draft.changes
        if event.kind is EventKind.SNAPSHOT:
            self._clear()
        for change in changes:
            if change.row is None:
                self._remove(change.table, change.key)
        self._put_all(change.row for change in changes if change.row is not None)
        for touch in event.draft.touches:
            row = self._find(touch.table, touch.key)
            if row is not None:
                self._put(replace(row, version=touch.version))
        self._line_up()
        self.seq = event.seq

    def phase_row(self, workload: WorkloadId) -> Workload | None:
        """The row of a workload that is alive or that a live one comes after."""
        held = self.live.get(workload)
        return self.ended.get(workload) if held is None else held.workload

    def queue_of(self, workload: WorkloadId) -> QueueName:
        """The queue that a live workload is in."""
        spec = self.live[workload].spec
        return DEFAULT_QUEUE if spec is None else spec.queue

    def wants(self, workload: WorkloadId) -> list[Want]:
        """The workload's replicas that need a start."""
        held = self.live.get(workload)
        if held is None or held.spec is None or held.desired is None or held.desired.wish is not Wish.RUN:
            return []
        size = held.spec.num_nodes if held.desired.size is None else Range.exactly(held.desired.size)
        gang = self.gang(workload, held.spec, held.spec.resources, size)
        counts = self.policy.points.critical_path
        behind_s = longest_s(workload, self.dependants, self._lasts_s) if counts else 0.0
        return [
            Want(workload=held.workload, spec=held.spec, replica=replica, gang=gang, behind_s=behind_s)
            for index, replica in held.replicas.items()
            if replica.phase is ReplicaPhase.WAITING
            and index < held.desired.replicas
            and (workload, index) not in self.attempts_of
        ]

    def gang(self, workload: WorkloadId, spec: WorkloadSpec, resources: ResourceRequest, size: Range) -> Gang:
        """So many members of a live workload, by its rules and by those of its neighbours."""
        row = self.live[workload].workload
        name: Name = row.project, row.name
        concerned = spec.rules.apart is not None or self.neighbours.concerns(name)
        rates = self.paces.rates(runtime_key(row), spec) if workload in self.paces.choosing else ()
        return Gang(
            resources=replace(resources, throughput=()) if resources.throughput else resources,
            size=size,
            rules=spec.rules,
            name=name if concerned else None,
            rates=rates,
        )

    def name_at(self, workload: WorkloadId, seq: int) -> str | None:
        """The name of a workload that was live as of an event not long ago; ``None`` = it was not."""
        held, left = self.live.get(workload), self._left.get(workload)
        if left is not None and left[0] >= seq:
            return left[1]
        return None if held is None else held.workload.name

    def _lasts_s(self, workload: WorkloadId) -> float:
        spec = self.live[workload].spec if workload in self.live else None
        limit_s = None if spec is None else spec.max_duration_s
        return self.policy.backfill.assumed_runtime_s if limit_s is None else limit_s

    def _touch_before(self, workload: Workload) -> None:
        """What a workload comes after stands elsewhere, where the work behind it counts."""
        if self.policy.points.critical_path:
            live = self.live
            before = along(workload.id, lambda each: live[each].workload.after if each in live else ())
            self._touched.update(each for each in before if each in live)

    def _line_up(self) -> None:
        """Those that were touched take their places anew."""
        if self._another_policy:
            self._begin_anew()
        if self._another_tree:
            self.shares.plant(self.queues)
            self._another_tree = False
        for workload in sorted(self._touched):
            held = self.live.get(workload)
            name = None if held is None else (held.workload.project, held.workload.name)
            rule = None if held is None or held.spec is None else held.spec.rules.apart
            self._touched |= self.neighbours.put(workload, name, rule)
            self.paces.put(workload, "" if held is None else runtime_key(held.workload), held.spec if held else None)
        self.runners.seq = self.seq
        for workload in self._touched:
            self.line.put(workload, self.wants(workload))
            self.demand.put(workload, *self._asked(workload))
            self._run(workload)
        self._touched.clear()

    def _begin_anew(self) -> None:
        """By other settings everyone stands elsewhere."""
        self.line = Line(order=order_of(self.policy))
        self.accounts.forget()
        self.orders.clear()
        self._touched |= self.live.keys()
        self._another_policy = False

    def _asked(self, workload: WorkloadId) -> tuple[ResourceRequest | None, int]:
        """What each member of the workload asks for, and how many members its owner wants at least."""
        held = self.live.get(workload)
        if held is None or held.spec is None or held.desired is None or held.desired.wish is not Wish.RUN:
            return None, 0
        size = held.spec.num_nodes.minimum if held.desired.size is None else held.desired.size
        return held.spec.resources, held.desired.replicas * size

    def _run(self, workload: WorkloadId) -> None:
        """What of it runs, and what is leaving."""
        held = self.live.get(workload)
        indices = () if held is None else held.replicas
        attempts = [self.attempts[id] for index in indices for id in self.attempts_of.get((workload, index), ())]
        leaving = [attempt for attempt in attempts if attempt.stop is not None]
        runners = [] if held is None else [self._runner(held, each) for each in attempts if each.stop is None]
        self.runners.put(workload, [each for each in runners if each is not None], leaving)

    @staticmethod
    def _runner(held: Live, attempt: Attempt) -> Runner | None:
        revision = held.specs.get(attempt.spec_revision)
        if revision is None:
            return None
        return Runner(
            attempt=attempt,
            spec=revision.spec,
            claim=Claim.of(revision.spec),
            preempted=held.replicas[attempt.replica].preempted,
            desired=None if held.desired is None else held.desired.size,
        )

    def _clear(self) -> None:
        empty = State()
        for name in State.__dataclass_fields__:
            setattr(self, name, getattr(empty, name))

    def _put_all(self, rows: Iterable[Row]) -> None:
        """Live workloads first: the others ask whether they are held. Ended ones last: they drop what hangs on them."""
        for row in sorted(rows, key=_turn):
            self._put(row)

    def _put(self, row: Row) -> None:
        self._touch(row)
        match row:
            case Workload():
                self._put_workload(row)
            case SpecRevision():
                if (held := self.live.get(row.workload)) is not None:
                    held.specs[row.revision] = row
            case Desired():
                if (held := self.live.get(row.workload)) is not None:
                    held.desired = row
            case Replica():
                self._put_replica(row)
            case Attempt():
                self._put_attempt(row)
            case Node():
                self._put_node(row)
            case Pool():
                self.pools[row.name] = row
            case Queue() | SchedulerPolicy() | Site() | Usage() | RuntimeHistory():
                self._put_rule(row)

    def _touch(self, row: Row | None) -> None:
        """The workload of that row takes its place in line anew."""
        if isinstance(row, Workload):
            self._touched.add(row.id)
        elif isinstance(row, SpecRevision | Desired | Replica | Attempt):
            self._touched.add(row.workload)

    def _put_workload(self, row: Workload) -> None:
        if row.phase.ended:
            self._drop_workload(row.id)
            if row.id in self.dependants:
                self.ended[row.id] = row
            return
        held = self.live.get(row.id)
        if held is None:
            self.live[row.id] = Live(workload=row)
            self.ended.pop(row.id, None)
            self._link(row)
            return
        if held.workload.after != row.after:
            self._unlink(held.workload)
            self._link(row)
        held.workload = row

    def _put_replica(self, row: Replica) -> None:
        if (held := self.live.get(row.workload)) is not None:
            held.replicas[row.index] = row

    def _put_attempt(self, row: Attempt) -> None:
        known = self.attempts.get(row.id)
        if known is not None and not row.phase.ended and _places(known) == _places(row):
            self.attempts[row.id] = row
            if end_of(known) != end_of(row):
                self.fleet.touch(row)
            return
        self._drop_attempt(row.id)
        if not row.phase.ended:
            self._hold_attempt(row)

    def _put_rule(self, row: Queue | SchedulerPolicy | Site | Usage | RuntimeHistory) -> None:
        match row:
            case Queue():
                self.queues[row.name] = row
                self._another_tree = True
            case SchedulerPolicy():
                self._put_policy(row)
            case Site():
                self.fleet.put_site(row)
            case Usage():
                self.usage[row.key] = row
                self.accounts.change(row.queue, row.key)
            case RuntimeHistory():
                self.runtimes[row.key] = row
                self.learned += 1
                self._touched |= self.paces.learn(row.key, row)

    def _put_policy(self, policy: SchedulerPolicy) -> None:
        self.policy = policy
        self._another_policy = True

    def _put_node(self, row: Node) -> None:
        before = self.fleet.get(row.id)
        self.fleet.put_node(row)
        self._recount(row.id, before, row)

    def _remove_node(self, id: NodeId) -> None:
        before = self.fleet.get(id)
        self.fleet.remove_node(id)
        self._recount(id, before, None)

    def _recount(self, id: NodeId, before: Node | None, now: Node | None) -> None:
        """What is held on a node is counted by the kinds of its devices as they now are."""
        if before is not None and now is not None and replace(before, version=now.version) == now:
            return
        self.shares.change_node(before, now)
        if kinds_of(before) != kinds_of(now):
            for attempt in {attempt for attempt, _ in self.fleet.held.get(id, ())}:
                self._count(self.attempts[attempt])

    def _count(self, attempt: Attempt) -> None:
        nodes = {member.node: self.fleet.get(member.node) for member in attempt.members}
        self.shares.hold(attempt, nodes)
        if attempt.id in self.accounts:
            self.accounts.hold(attempt)

    def _hold_attempt(self, attempt: Attempt) -> None:
        self.attempts[attempt.id] = attempt
        self.attempts_of.setdefault((attempt.workload, attempt.replica), set()).add(attempt.id)
        self.fleet.hold(attempt)
        self._count(attempt)
        self.accounts.hold(attempt)
        self.neighbours.hold(attempt)

    def _drop_attempt(self, id: AttemptId) -> None:
        attempt = self.attempts.pop(id, None)
        if attempt is None:
            return
        self._touch(attempt)
        self.fleet.release(attempt)
        self.shares.release(id)
        self.accounts.release(attempt)
        self.neighbours.release(attempt)
        key = (attempt.workload, attempt.replica)
        self.attempts_of[key].discard(id)
        if not self.attempts_of[key]:
            del self.attempts_of[key]

    def _drop_workload(self, id: WorkloadId) -> None:
        self._touched.add(id)
        self.ended.pop(id, None)
        held = self.live.pop(id, None)
        if held is None:
            return
        self._unlink(held.workload)
        self._left[id] = self.seq, held.workload.name
        if len(self._left) > NAMES_KEPT:
            del self._left[next(iter(self._left))]

    def _link(self, workload: Workload) -> None:
        for target in workload.after:
            self.dependants.setdefault(target, set()).add(workload.id)
        self._touch_before(workload)

    def _unlink(self, workload: Workload) -> None:
        self._touch_before(workload)
        for target in set(workload.after):
            self.dependants[target].discard(workload.id)
            if not self.dependants[target]:
                del self.dependants[target]
                self.ended.pop(target, None)

    def _remove(self, table: Table, key: str) -> None:
        match table:
            case Table.WORKLOADS:
                self._drop_workload(WorkloadId(key))
            case Table.SPECS | Table.DESIRED | Table.REPLICAS:
                self._remove_part(table, key)
            case Table.ATTEMPTS:
                self._drop_attempt(AttemptId(key))
            case Table.NODES:
                self._remove_node(NodeId(key))
            case Table.POOLS:
                self.pools.pop(key, None)
            case Table.QUEUES:
                self.queues.pop(key, None)
                self._another_tree = True
            case Table.POLICIES:
                self._put_policy(DEFAULT_POLICY)
            case Table.SITES:
                self.fleet.put_site(EMPTY_SITE)
            case Table.USAGE:
                self._drop_usage(key)
            case Table.RUNTIMES:
                self.runtimes.pop(key, None)
                self.learned += 1
                self._touched |= self.paces.learn(key, None)

    def _drop_usage(self, key: str) -> None:
        row = self.usage.pop(key, None)
        if row is not None:
            self.accounts.change(row.queue, key)

    def _remove_part(self, table: Table, key: str) -> None:
        row = self._find(table, key)
        self._touch(row)
        match row:
            case SpecRevision():
                del self.live[row.workload].specs[row.revision]
            case Desired():
                self.live[row.workload].desired = None
            case Replica():
                del self.live[row.workload].replicas[row.index]

    def _find(self, table: Table, key: str) -> Row | None:
        """The row as it is held, or ``None``."""
        match table:
            case Table.WORKLOADS:
                return self.phase_row(WorkloadId(key))
            case Table.SPECS:
                held = self.live.get(WorkloadId(key.rpartition("@")[0]))
                return None if held is None else _by_key(held.specs.values(), key)
            case Table.DESIRED:
                held = self.live.get(WorkloadId(key))
                return None if held is None else held.desired
            case Table.REPLICAS:
                held = self.live.get(WorkloadId(key.rpartition(".")[0]))
                return None if held is None else _by_key(held.replicas.values(), key)
            case Table.ATTEMPTS:
                return self.attempts.get(AttemptId(key))
            case Table.NODES:
                return self.fleet.get(NodeId(key))
            case Table.POLICIES:
                return self.policy
            case Table.SITES:
                return self.fleet.marked.site
            case Table.POOLS | Table.QUEUES | Table.USAGE | Table.RUNTIMES:
                rows: dict[str, Row] = getattr(self, table.value)
                return rows.get(key)
            case Table.API_KEYS | Table.PROJECT_LIMITS:  # the gateway's, not held here
                return None


def build(rows: Rows) -> State:
    """The state that these rows amount to. The rows are not kept."""
    state = State(seq=rows.seq)
    state.fleet.reserve(len(rows.nodes), max((len(node.devices) for node in rows.nodes.values()), default=0))
    state._put_all(row for table in Table for row in rows.table(table).values())
    state._line_up()
    return state


def _turn(row: Row) -> int:
    if not isinstance(row, Workload):
        return 1
    return 2 if row.phase.ended else 0


def _places(attempt: Attempt) -> object:
    """What its hold on the fleet follows from."""
    return attempt.workload, attempt.replica, attempt.held


def _by_key(rows: Iterable[SpecRevision] | Iterable[Replica], key: str) -> Row | None:
    return next((row for row in rows if row_key(row) == key), None)
