"""What there is, what is held and what is left: an array a quantity, a row a node, kept current by single changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from ampacity.model.attempt import Attempt
from ampacity.model.fits import Free, usable
from ampacity.model.ids import NodeId
from ampacity.model.node import Device, Health, Node
from ampacity.model.plan import Placement
from ampacity.model.resources import WHOLE_MILLI, Allocation, ResourceRequest
from ampacity.model.site import Site

from .columns import Answers, Codes, Counts, Flags, Ints, free_of_row, give, larger
from .marked import Marked
from .past import Holds, Past, Was

ABSENT = -1
"""The kind of a device slot without a device."""


@dataclass(slots=True, eq=False)
class Fleet:
    """Nodes as arrays. A row without a node is closed and has nothing; rows of removed nodes are used again.

    Two fleets are equal when they hold the same nodes and allocations and have the same left, whatever rows they have
    them in. Allocations on a node that is not known (not registered yet, or removed) are kept: they count as soon as
    it is.

    Attributes:
        nodes: by row; ``None`` = the row is unused.
        row_of: the row of each node that is known.
        cpu_left, memory_left, disk_left: thousandths, bytes and bytes; below zero where a node shrank below what is
            held there. ``*_total``: what the empty node has.
        device_left: (rows, slots) thousandths of each device, by ascending index; 0 where absent or failed.
            ``device_total``: those of the empty node.
        device_kind: codes of ``kinds``; ``ABSENT`` where there is no device. ``device_memory``: bytes.
        counted_left: by name, how many of it are left on each row.
        power_used_w: watts given out on each row.
        licences_used: how many of each are given out, on whatever node.
        open: takes new work.
        marked: what is known of the rows by their labels, taints and places.
        version: a number that no other state of any row has: it changes with every change of the row.
        held: who holds what, by node.
        answers_ahead: what boards beside the plan's own found out of requests; it follows from the rest.
        journal: the rows that changed, in order, those that boards tried things on among them; its first entries are
            cut off from time to time, ``journal_cut`` so far.
    """

    nodes: list[Node | None] = field(default_factory=list)
    row_of: dict[NodeId, int] = field(default_factory=dict)
    held: dict[NodeId, Holds] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=list)
    cpu_total: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    cpu_left: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    memory_total: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    memory_left: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    disk_total: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    disk_left: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    device_total: Counts = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    device_left: Counts = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    device_memory: Ints = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    device_kind: Codes = field(default_factory=lambda: np.zeros((0, 0), np.int16))
    counted_left: dict[str, Ints] = field(default_factory=dict)
    power_used_w: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    licences_used: dict[str, int] = field(default_factory=dict)
    open: Flags = field(default_factory=lambda: np.zeros(0, np.bool_))
    version: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    stamps: count[int] = field(default_factory=lambda: count(1))
    marked: Marked = field(init=False)
    _kind_codes: dict[str, int] = field(default_factory=dict)
    _slots: list[dict[str, int]] = field(default_factory=list)
    _ids: list[tuple[str, ...]] = field(default_factory=list)
    _part_codes: list[int] = field(default_factory=list)
    _unused: list[int] = field(default_factory=list)
    _rank: Counts | None = None
    answers_ahead: dict[ResourceRequest, Answers] = field(default_factory=dict)
    _past: Past | None = None
    _tried: set[int] = field(default_factory=set)
    journal: list[int] = field(default_factory=list)
    journal_cut: int = 0

    def __post_init__(self) -> None:
        self.marked = Marked(nodes=self.nodes, version=np.zeros(self.size, np.int64))

    # What there is -------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many rows there are, used or not."""
        return len(self.open)

    @property
    def rank(self) -> Counts:
        """Settles ties, the lower wins: the order of the ids. Behind all of them where there is no node."""
        if self._rank is None:
            self._rank = np.full(self.size, len(self.row_of), np.int32)
            for place, id in enumerate(sorted(self.row_of)):
                self._rank[self.row_of[id]] = place
        return self._rank

    def node(self, row: int) -> Node:
        """The node of a used row."""
        found = self.nodes[row]
        assert found is not None, "the row is used"
        return found

    def get(self, id: NodeId) -> Node | None:
        row = self.row_of.get(id)
        return None if row is None else self.nodes[row]

    def known(self) -> list[Node]:
        """All nodes, by id."""
        return [self.node(self.row_of[id]) for id in sorted(self.row_of)]

    def kind_code(self, kind: str) -> int | None:
        """The number of a kind of accelerator; ``None`` = no node has had one."""
        return self._kind_codes.get(kind)

    def kinds_there(self) -> list[str]:
        """The kinds of which a node has a device now, by name."""
        codes = self.device_kind[self.device_kind != ABSENT]
        return sorted(self.kinds[code] for code in np.flatnonzero(np.bincount(codes, minlength=1)))

    @property
    def parts_of_devices(self) -> list[int]:
        """The codes of the kinds that are instances of a partitioned device."""
        return self._part_codes

    def device_ids(self, row: int) -> tuple[str, ...]:
        """The devices of a row, by slot."""
        return self._ids[row]

    def free(self, id: NodeId) -> Free:
        """What is left on a known node, as a record."""
        row = self.row_of[id]
        return free_of_row(self.node(row), self, row)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Fleet):
            return NotImplemented
        if (
            self.held != other.held
            or self.row_of.keys() != other.row_of.keys()
            or self.marked.site != other.marked.site
        ):
            return False
        if self.licences_used != other.licences_used:
            return False
        return all(
            self.node(row) == other.node(other.row_of[id])
            and self.free(id) == other.free(id)
            and self.power_used_w[row] == other.power_used_w[other.row_of[id]]
            for id, row in self.row_of.items()
        )

    __hash__ = None  # type: ignore[assignment]

    def now(self, id: NodeId) -> Was:
        """A node as it is."""
        row = self.row_of.get(id, -1)
        return Was(self.nodes[row] if row >= 0 else None, row, self.held.get(id, {}))

    def moment(self) -> Past:
        """The nodes as they are now, to be read at any time later."""
        past = Past(fleet=self)
        if self._past is not None:
            self._past.then = past
        self._past = past
        return past

    def tried(self, row: int) -> int:
        """A board changes a row for itself. The number of the row's new content."""
        self.journal.append(row)
        self._tried.add(row)
        return next(self.stamps)

    def forget_tries(self) -> None:
        """A new board begins with what the fleet has: rows that earlier boards changed are other ones again."""
        self.journal.extend(self._tried)
        self._tried.clear()
        if len(self.journal) > 4 * self.size + 1000:
            self.journal_cut += len(self.journal)
            self.journal.clear()

    # Changes -------------------------------------------------------------------------------------------------------

    def reserve(self, rows: int, slots: int) -> None:
        """Make room at once for so many nodes of so many devices."""
        if rows > self.size or slots > self.device_left.shape[1]:
            self._grow(max(rows, self.size), max(slots, self.device_left.shape[1]))

    def put_node(self, node: Node) -> None:
        """A node as it now is."""
        self._keep(node.id)
        row = self.row_of.get(node.id)
        before = None if row is None else self.nodes[row]
        if row is None:
            row = self._new_row(node)
        self.nodes[row] = node
        same = before is not None and _amounts(before) == _amounts(node)
        if not same:
            self._fill(row, node)
        if not same or self.open[row] != usable(node):
            self.open[row] = usable(node)
            self._changed(row)
        if before is None or _marks(before) != _marks(node):
            self.marked.version[row] = next(self.stamps)

    def put_site(self, site: Site) -> None:
        """Trees, feeds and licences as they now are."""
        self.marked.put_site(site)

    def remove_node(self, id: NodeId) -> None:
        self._keep(id)
        row = self.row_of.pop(id, None)
        if row is None:
            return
        self.nodes[row] = None
        self._slots[row], self._ids[row] = {}, ()
        for column in (self.cpu_total, self.cpu_left, self.memory_total, self.memory_left, self.power_used_w):
            column[row] = 0
        self.disk_total[row] = self.disk_left[row] = 0
        for counted in self.counted_left.values():
            counted[row] = 0
        self.device_total[row] = self.device_left[row] = 0
        self.device_memory[row], self.device_kind[row] = 0, ABSENT
        self.open[row], self.marked.version[row] = False, next(self.stamps)
        self._changed(row)
        self._unused.append(row)
        self._rank = None

    def hold(self, attempt: Attempt) -> None:
        """An attempt has its places from now on."""
        for index, place in attempt.held:
            self._keep(place.node)
            self.held[place.node] = {**self.held.get(place.node, {}), (attempt.id, index): place.allocation}
            self._add(place, -1)

    def release(self, attempt: Attempt) -> None:
        """Give back what :meth:`hold` took for the very same attempt."""
        for index, place in attempt.held:
            self._keep(place.node)
            gone = attempt.id, index
            on_node = {hold: given for hold, given in self.held[place.node].items() if hold != gone}
            if on_node:
                self.held[place.node] = on_node
            else:
                del self.held[place.node]
            self._add(place, 1)

    def _add(self, place: Placement, sign: int) -> None:
        for each in place.allocation.licences:
            self.licences_used[each.name] = self.licences_used.get(each.name, 0) - sign * each.amount
            if not self.licences_used[each.name]:
                del self.licences_used[each.name]
        row = self.row_of.get(place.node)
        if row is not None:
            self._give(row, place.allocation, sign)
            self._changed(row)

    def _give(self, row: int, allocation: Allocation, sign: int) -> None:
        give(self, self.parts(row, allocation), row, allocation, sign)

    def parts(self, row: int, allocation: Allocation) -> Iterable[tuple[int, int]]:
        """The slots and thousandths of an allocation that count: of devices that are there and have not failed."""
        slots, total = self._slots[row], self.device_total[row]
        for share in allocation.devices:
            slot = slots.get(share.device)
            if slot is not None and total[slot]:
                yield slot, share.milli

    def touch(self, attempt: Attempt) -> None:
        """Something else about what the attempt holds has changed: until when it does."""
        for member in attempt.members:
            row = self.row_of.get(member.node)
            if row is not None:
                self._changed(row)

    def _keep(self, id: NodeId) -> None:
        """Before a node changes."""
        if self._past is not None and id not in self._past.kept:
            self._past.kept[id] = self.now(id)

    def _changed(self, row: int) -> None:
        self.version[row] = next(self.stamps)
        self.journal.append(row)

    def _new_row(self, node: Node) -> int:
        if not self._unused:
            self._grow(max(8, 2 * self.size), self.device_left.shape[1])
        row = self._unused.pop()
        self.row_of[node.id] = row
        self._rank = None
        return row

    def _fill(self, row: int, node: Node) -> None:
        """The row's amounts anew, from the node and what is held there."""
        if len(node.devices) > self.device_left.shape[1]:
            self._grow(self.size, len(node.devices))
        self.cpu_total[row] = self.cpu_left[row] = node.cpu_milli
        self.memory_total[row] = self.memory_left[row] = node.memory_bytes
        self.disk_total[row] = self.disk_left[row] = node.disk_bytes
        for name in node.counted:
            if name not in self.counted_left:
                self.counted_left[name] = np.zeros(self.size, np.int64)
        for name, counted in self.counted_left.items():
            counted[row] = node.counted.get(name, 0)
        self.power_used_w[row] = 0
        self.device_total[row], self.device_memory[row], self.device_kind[row] = 0, 0, ABSENT
        devices = sorted(node.devices, key=lambda device: device.index)
        self._ids[row] = tuple(device.id for device in devices)
        self._slots[row] = {id: slot for slot, id in enumerate(self._ids[row])}
        for slot, device in enumerate(devices):
            self.device_kind[row, slot] = self._code(device)
            self.device_memory[row, slot] = device.memory_bytes
            self.device_total[row, slot] = 0 if device.health is Health.FAILED else WHOLE_MILLI
        self.device_left[row] = self.device_total[row]
        for allocation in self.held.get(node.id, {}).values():
            self._give(row, allocation, -1)

    def _code(self, device: Device) -> int:
        code = self._kind_codes.get(device.kind)
        if code is None:
            code = self._kind_codes[device.kind] = len(self.kinds)
            self.kinds.append(device.kind)
        if device.profile and code not in self._part_codes:
            self._part_codes.append(code)
        return code

    def _grow(self, rows: int, slots: int) -> None:
        before = self.size
        for name in ("cpu_total", "cpu_left", "memory_total", "memory_left", "disk_total", "disk_left", "power_used_w"):
            setattr(self, name, larger(getattr(self, name), (rows,), 0))
        for name in ("device_total", "device_left", "device_memory"):
            setattr(self, name, larger(getattr(self, name), (rows, slots), 0))
        self.device_kind = larger(self.device_kind, (rows, slots), ABSENT)
        self.open = larger(self.open, (rows,), False)
        self.version = larger(self.version, (rows,), 0)
        self.marked.version = larger(self.marked.version, (rows,), 0)
        self.counted_left = {name: larger(counted, (rows,), 0) for name, counted in self.counted_left.items()}
        self.nodes.extend([None] * (rows - before))
        self._ids.extend(() for _ in range(rows - before))
        self._slots.extend({} for _ in range(rows - before))
        self._unused.extend(range(rows - 1, before - 1, -1))
        self._rank = None


def _amounts(node: Node) -> tuple[object, ...]:
    return node.cpu_milli, node.memory_bytes, node.disk_bytes, node.devices, node.counted


def _marks(node: Node) -> tuple[object, ...]:
    return node.labels, node.taints, node.marks, node.trees, node.feed, node.pool, node.driver
