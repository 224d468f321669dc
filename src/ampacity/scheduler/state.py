"""The scheduler's input: what is alive, what there is and what is left, kept current by events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ampacity.model.attempt import Attempt
from ampacity.model.event import Event, EventKind, Row, Rows, Table
from ampacity.model.history import RuntimeHistory, Usage, runtime_key
from ampacity.model.ids import AttemptId, NodeId, WorkloadId
from ampacity.model.node import Node, Pool, placing_pool
from ampacity.model.policy import DEFAULT_POLICY, SchedulerPolicy
from ampacity.model.queue import Queue
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.site import EMPTY_SITE, Site
from ampacity.model.workload import Desired, Replica, ReplicaPhase, SpecRevision, Wish, Workload, WorkloadSpec

from .backfill.horizon import Horizon
from .chooser import Policies
from .columns import Answers
from .demand import Demand
from .fleet import Fleet
from .gang import Gang, Name, data_of
from .holding import Holding, ReplicaKey
from .lives import Live, Lives
from .neighbours import Neighbours
from .order import Line, Want
from .ordering.registry import order_of
from .paces import Paces
from .paths import longest_s
from .preempting.claims import Claim
from .preempting.runners import Runner, Runners
from .queues.accounts import Accounts
from .queues.heads import Head
from .queues.shares import Shares


@dataclass(slots=True)
class State:
    """All that deciding needs. Rows of ended workloads are dropped, all but those that a live one comes ``after``.

    Two states that hold the same rows are equal, however they came about: built at once or by single events. Attempts
    hold their resources until they have ended, whatever the phase of their workload.

    Attributes:
        lives: workloads that have not ended, with their rows.
        holding: attempts that have not ended, and what they hold.
        live, ended, dependants, attempts, attempts_of, fleet, neighbours, shares, accounts: those of these two.
        policy: the settings in force.
        usage: what each owner has used of each queue; without what runs.
        runtimes: how long jobs of each kind took.
        paces: how fast live workloads run on the kinds that they may have. It follows from the rest.
        horizon, orders, learned: what plans found out about ends and turns, and how often ``runtimes`` changed.
        answers: how requests fit, as earlier plans found out. They follow from the rest.
        demand: what live workloads ask for. It follows from the rest.
        policies: placement policies with what they have worked out. It follows from the rest.
        line: the replicas that want a start, in order. It follows from the rest.
        runners: what runs, by who may take its place, and what is leaving. It follows from the rest.
    """

    seq: int = 0
    lives: Lives = field(default_factory=Lives)
    holding: Holding = field(default_factory=Holding)
    pools: dict[str, Pool] = field(default_factory=dict)
    queues: dict[str, Queue] = field(default_factory=dict)
    policy: SchedulerPolicy = DEFAULT_POLICY
    usage: dict[str, Usage] = field(default_factory=dict)
    runtimes: dict[str, RuntimeHistory] = field(default_factory=dict)
    paces: Paces = field(default_factory=Paces, compare=False, repr=False)
    line: Line = field(default_factory=Line, compare=False, repr=False)
    runners: Runners = field(default_factory=Runners, compare=False, repr=False)
    answers: dict[ResourceRequest, Answers] = field(default_factory=dict, compare=False, repr=False)
    demand: Demand = field(default_factory=Demand, compare=False, repr=False)
    policies: Policies = field(default_factory=Policies, compare=False, repr=False)
    horizon: Horizon = field(default_factory=Horizon, compare=False, repr=False)
    orders: dict[str, tuple[tuple[object, ...], tuple[Head, ...]]] = field(
        default_factory=dict, compare=False, repr=False
    )
    learned: int = field(default=0, compare=False, repr=False)
    live: dict[WorkloadId, Live] = field(init=False, compare=False, repr=False)
    ended: dict[WorkloadId, Workload] = field(init=False, compare=False, repr=False)
    dependants: dict[WorkloadId, set[WorkloadId]] = field(init=False, compare=False, repr=False)
    attempts: dict[AttemptId, Attempt] = field(init=False, compare=False, repr=False)
    attempts_of: dict[ReplicaKey, set[AttemptId]] = field(init=False, compare=False, repr=False)
    fleet: Fleet = field(init=False, compare=False, repr=False)
    neighbours: Neighbours = field(init=False, compare=False, repr=False)
    shares: Shares = field(init=False, compare=False, repr=False)
    accounts: Accounts = field(init=False, compare=False, repr=False)
    _another_tree: bool = field(default=False, compare=False, repr=False)
    _another_policy: bool = field(default=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        self.live, self.ended, self.dependants = self.lives.live, self.lives.ended, self.lives.dependants
        self.attempts, self.attempts_of = self.holding.attempts, self.holding.attempts_of
        self.fleet, self.neighbours = self.holding.fleet, self.holding.neighbours
        self.shares, self.accounts = self.holding.shares, self.holding.accounts

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
        self.seq = self.lives.seq = self.runners.seq = event.seq

    def phase_row(self, workload: WorkloadId) -> Workload | None:
        """The row of a workload that is alive or that a live one comes after."""
        return self.lives.phase_row(workload)

    def name_at(self, workload: WorkloadId, seq: int) -> str | None:
        """The name of a workload that was live as of an event not long ago; ``None`` = it was not."""
        return self.lives.name_at(workload, seq)

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
            data=data_of(spec.volumes) if spec.volumes else (),
            name=name if concerned else None,
            rates=rates,
        )

    def _lasts_s(self, workload: WorkloadId) -> float:
        spec = self.live[workload].spec if workload in self.live else None
        limit_s = None if spec is None else spec.max_duration_s
        return self.policy.backfill.assumed_runtime_s if limit_s is None else limit_s

    def _line_up(self) -> None:
        """Those that were touched take their places anew."""
        if self._another_policy:
            self._begin_anew()
        if self._another_tree:
            self.shares.plant(self.queues)
            self._another_tree = False
        for workload in sorted(self.lives.touched):
            held = self.live.get(workload)
            name = None if held is None else (held.workload.project, held.workload.name)
            rule = None if held is None or held.spec is None else held.spec.rules.apart
            self.lives.touched |= self.neighbours.put(workload, name, rule)
            self.paces.put(workload, "" if held is None else runtime_key(held.workload), held.spec if held else None)
        for workload in self.lives.touched:
            self.line.put(workload, self.wants(workload))
            self.demand.put(workload, *self._asked(workload))
            self._run(workload)
        self.lives.touched.clear()

    def _begin_anew(self) -> None:
        """By other settings everyone stands elsewhere."""
        self.line = Line(order=order_of(self.policy))
        self.accounts.forget()
        self.orders.clear()
        self.lives.touched |= self.live.keys()
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
        ours = [each for each in attempts if each.stop is None and not self._is_in_a_pool(each)]
        runners = [] if held is None else [self._runner(held, each) for each in ours]
        self.runners.put(workload, [each for each in runners if each is not None], leaving)

    def _is_in_a_pool(self, attempt: Attempt) -> bool:
        """Whether it runs in a pool that places by itself: a place that it left would not be ours to give."""
        if not self.pools:
            return False
        nodes = (self.fleet.get(member.node) for member in attempt.members)
        return any(node is not None and placing_pool(node, self.pools) is not None for node in nodes)

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
        match row:
            case Workload():
                self.lives.put(row)
            case SpecRevision() | Desired() | Replica():
                self.lives.put_part(row)
            case Attempt():
                self.lives.touched.add(row.workload)
                self.holding.put(row)
            case Node():
                known = self.fleet.get(row.id)
                self.holding.put_node(row)
                if self.pools and (known is None or (known.pool, known.driver) != (row.pool, row.driver)):
                    self.lives.touched |= {self.attempts[id].workload for id, _ in self.fleet.held.get(row.id, ())}
            case Pool():
                self.pools[row.name] = row
                self._pools_changed()
            case Queue() | SchedulerPolicy() | Site() | Usage() | RuntimeHistory():
                self._put_rule(row)

    def _pools_changed(self) -> None:
        """Who runs in a pool that places by itself is no runner whose place could be taken."""
        self.fleet.marked.put_pools(self.pools)
        self.lives.touched |= self.live.keys()

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
                self.lives.touched |= self.paces.learn(row.key, row)

    def _put_policy(self, policy: SchedulerPolicy) -> None:
        self.policy = policy
        self.lives.by_path = bool(policy.points.critical_path)
        self._another_policy = True

    def _remove(self, table: Table, key: str) -> None:
        match table:
            case Table.WORKLOADS:
                self.lives.drop(WorkloadId(key))
            case Table.SPECS | Table.DESIRED | Table.REPLICAS:
                self.lives.drop_part(table, key)
            case Table.ATTEMPTS:
                workload = self.holding.drop(AttemptId(key))
                if workload is not None:
                    self.lives.touched.add(workload)
            case Table.NODES:
                self.holding.drop_node(NodeId(key))
            case Table.POOLS:
                self.pools.pop(key, None)
                self._pools_changed()
            case Table.POLICIES:
                self._put_policy(DEFAULT_POLICY)
            case Table.SITES:
                self.fleet.put_site(EMPTY_SITE)
            case Table.QUEUES | Table.USAGE | Table.RUNTIMES:
                self._remove_rule(table, key)

    def _remove_rule(self, table: Table, key: str) -> None:
        match table:
            case Table.QUEUES:
                self.queues.pop(key, None)
                self._another_tree = True
            case Table.USAGE:
                row = self.usage.pop(key, None)
                if row is not None:
                    self.accounts.change(row.queue, key)
            case _:
                self.runtimes.pop(key, None)
                self.learned += 1
                self.lives.touched |= self.paces.learn(key, None)

    def _find(self, table: Table, key: str) -> Row | None:
        """The row as it is held, or ``None``."""
        match table:
            case Table.WORKLOADS:
                return self.phase_row(WorkloadId(key))
            case Table.SPECS | Table.DESIRED | Table.REPLICAS:
                return self.lives.find_part(table, key)
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
            case Table.API_KEYS | Table.PROJECT_LIMITS | Table.ROUTES:  # the gateway's, not held here
                return None


def build(rows: Rows) -> State:
    """The state that these rows amount to. The rows are not kept."""
    state = State(seq=rows.seq)
    state.lives.seq = state.runners.seq = rows.seq
    state.fleet.reserve(len(rows.nodes), max((len(node.devices) for node in rows.nodes.values()), default=0))
    state._put_all(row for table in Table for row in rows.table(table).values())
    state._line_up()
    return state


def _turn(row: Row) -> int:
    if not isinstance(row, Workload):
        return 1
    return 2 if row.phase.ended else 0
