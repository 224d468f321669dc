"""Topology files and marks over a control loop: checked, written as a whole, and heeded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from control_bench import task
from test_control_plane import Seat

import ampacity.control.step as parts
from ampacity.model.errors import InvalidSpec, NotFound
from ampacity.model.event import EventKind
from ampacity.model.ids import NodeId
from ampacity.model.plan import Placement, Plan, Start
from ampacity.model.resources import Allocation, Counted, Range, ResourceRequest
from ampacity.model.rules import LabelRule, PlacementRules
from ampacity.model.view import TopologyChanges
from ampacity.model.workload import WorkloadPhase
from ampacity.scheduler import State, plan


@pytest.fixture
def seat(tmp_path: Path) -> Seat:
    return Seat(tmp_path)


def names(seat: Seat) -> list[str]:
    return [str(view.node.id) for view in seat.plane.nodes()]


def test_a_file_is_applied_as_a_whole(seat: Seat) -> None:
    (first, *_) = names(seat)
    text = f"topology:\n  fabric:\n    levels: [leaf]\n    places: {{a: {{nodes: {first}}}}}\nlicences: {{matlab: 2}}\n"
    dry = seat.plane.apply_topology(text, file="t.yaml", by="anna", dry_run=True)
    assert dry.changes == ("tree fabric (leaf) comes with 1 node", "licence matlab: none -> 2")
    assert seat.plane.topology().levels == {}
    assert seat.plane.apply_topology(text, file="t.yaml", by="anna", dry_run=False) == replace(dry, dry_run=False)
    assert seat.plane.topology().places == {"fabric": {first: ("a",)}}
    again = seat.plane.apply_topology(text, file="t.yaml", by="anna", dry_run=False)
    assert again == TopologyChanges(dry_run=False)
    written = [event for event in seat.bench.store.events() if event.kind is EventKind.TOPOLOGY_CHANGED]
    assert [event.draft.actor for event in written] == ["anna"]


def test_an_unknown_node_is_refused_before_anything_changes(seat: Seat) -> None:
    text = "feeds:\n  pdu: {power: 1kW, nodes: [n-nowhere]}\n"
    with pytest.raises(InvalidSpec, match="there is no node n-nowhere") as caught:
        seat.plane.apply_topology(text, file="t.yaml", by="anna", dry_run=False)
    assert caught.value.where is not None
    assert (caught.value.where.file, caught.value.where.line) == ("t.yaml", 2)
    assert seat.plane.topology().feeds == {}
    with pytest.raises(InvalidSpec, match="nothing about topology"):
        seat.plane.apply_topology("queues: {}\n", file="t.yaml", by="anna", dry_run=False)


def test_licences_of_a_file_are_given_out_and_no_more(seat: Seat) -> None:
    seat.plane.apply_topology("licences: {matlab: 1}\n", file="t.yaml", by="anna", dry_run=False)
    licensed = task("one")
    licensed = replace(licensed, resources=replace(licensed.resources, licences=(Counted(name="matlab", amount=1),)))
    first = seat.submit(licensed)
    second = seat.submit(replace(licensed, name="two"))
    assert seat.view(first.workload.id).workload.phase is WorkloadPhase.RUNNING
    waiting = seat.view(second.workload.id)
    assert waiting.workload.phase is WorkloadPhase.WAITING
    assert waiting.waits[0].text == "needs 1 matlab; 0 of 1 licences are left."
    seat.plane.apply_topology("licences: {matlab: 2}\n", file="t.yaml", by="anna", dry_run=False)
    seat.bench.step()
    assert seat.view(second.workload.id).workload.phase is WorkloadPhase.RUNNING


@pytest.mark.parametrize("what", ["licences: {sim: 2}\n", "feeds: {pdu: {power: 500W, nodes: [NODE]}}\n"])
def test_what_nodes_share_is_held_against_the_rows_again_when_a_plan_is_written_down(
    seat: Seat, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A plan that gives out more licences or watts than there are is not carried out beyond them, whoever made it."""
    (first, *_) = names(seat)
    seat.plane.apply_topology(what.replace("NODE", first), file="t.yaml", by="anna", dry_run=False)
    made: list[Start] = []

    def planned(state: State, now: float) -> Plan:
        return replace(plan(state, now), starts=tuple(made))

    monkeypatch.setattr(parts, "plan", planned)
    asked = ResourceRequest(cpu_milli=Range.exactly(0), licences=(Counted(name="sim", amount=1),))
    if "feeds" in what:
        asked = ResourceRequest(cpu_milli=Range.exactly(0), power_w=200)
    idents = [seat.submit(task(name, resources=asked)).workload.id for name in ("a", "b", "c")]
    given = Allocation(cpu_milli=0, memory_bytes=0, licences=asked.licences, power_w=asked.power_w)
    spot = Placement(node=NodeId(first), allocation=given)
    made += [Start(workload=ident, replica=0, placements=(spot,)) for ident in idents]
    seat.bench.control.step(seat.bench.now)
    assert [len(seat.bench.attempts(ident)) for ident in idents] == [1, 1, 0]
    seat.bench.control.step(seat.bench.now)
    assert [len(seat.bench.attempts(ident)) for ident in idents] == [1, 1, 0], "what runs counts as well"


def test_marks_stay_while_the_driver_goes_on_reporting_the_node(seat: Seat) -> None:
    (first, *_) = names(seat)
    seat.bench.step()
    view = seat.plane.mark_node(first, labels={"zone": "a"}, taints={"repair": ""}, by="anna")
    assert (view.node.marks.labels, view.node.marks.taints) == ({"zone": "a"}, ("repair",))
    for _ in range(3):
        seat.bench.now += 6.0
        seat.bench.step()
    assert next(each.node for each in seat.plane.nodes() if each.node.id == first).all_taints == ("repair",)
    chosen = PlacementRules(selector=(LabelRule(key="zone", values=("a",)),))
    waiting = seat.submit(replace(task("chooser"), rules=chosen))
    assert "taints it tolerates" in seat.view(waiting.workload.id).waits[0].text
    seat.plane.mark_node(first, labels={}, taints={"repair": None}, by="anna")
    seat.bench.step()
    assert seat.view(waiting.workload.id).workload.phase is WorkloadPhase.RUNNING


def test_wrong_marks_are_refused(seat: Seat) -> None:
    (first, *_) = names(seat)
    with pytest.raises(InvalidSpec):
        seat.plane.mark_node(first, labels={"a b": "c"}, taints={}, by="anna")
    with pytest.raises(InvalidSpec):
        seat.plane.mark_node(first, labels={"a": ""}, taints={}, by="anna")
    with pytest.raises(NotFound):
        seat.plane.mark_node("nowhere", labels={"a": "b"}, taints={}, by="anna")
