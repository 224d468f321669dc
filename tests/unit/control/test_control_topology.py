"""Topology files and marks over a control loop: checked, written as a whole, and heeded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from control_bench import task
from test_control_plane import Seat

import ampacity.control.step as parts
from ampacity.control.launching import mounts_of
from ampacity.drivers.base import Mount
from ampacity.model.errors import InvalidSpec, NotFound
from ampacity.model.event import EventKind
from ampacity.model.ids import NodeId
from ampacity.model.plan import Placement, Plan, Start
from ampacity.model.resources import Allocation, Counted, Range, ResourceRequest
from ampacity.model.rules import LabelRule, PlacementRules
from ampacity.model.site import Site
from ampacity.model.view import TopologyChanges
from ampacity.model.volume import VolumeUse
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


def test_a_volume_has_to_be_known_when_it_is_asked_for_and_who_misses_one_is_counted(seat: Seat) -> None:
    asks = task("reader", volumes=(VolumeUse(target="/data", volume="corpus"),))
    with pytest.raises(InvalidSpec, match="there is no volume 'corpus'") as caught:
        seat.submit(asks)
    assert (caught.value.where.key, caught.value.hint) == (
        "volumes./data",
        "No topology file names any. Name it under `storage`, or write a folder.",
    )
    text = "storage:\n  corpus: {path: /srv/corpus, read_only: true}\n"
    said = seat.plane.apply_topology(text, file="t.yaml", by="anna", dry_run=False).changes
    assert said == ("volume corpus comes: /srv/corpus on all nodes, read only",)
    with pytest.raises(InvalidSpec) as caught:
        seat.submit(task("typo", volumes=(VolumeUse(target="/data", volume="corpse"),)))
    assert caught.value.hint == "Did you mean corpus?"
    ident = seat.submit(asks).workload.id
    (attempt,) = seat.bench.attempts(ident)
    launch = seat.bench.driver.launch(attempt.key(0))
    assert launch.mounts == (Mount(source="/srv/corpus", target="/data", read_only=True),)
    gone = seat.plane.apply_topology("licences: {a: 1}\n", file="t.yaml", by="anna", dry_run=True).changes
    assert "volume corpus goes, which 1 workload would mount" in gone
    moved = seat.plane.apply_topology(text.replace("/srv", "/mnt"), file="t.yaml", by="anna", dry_run=True).changes
    assert moved == ("volume corpus: now /mnt/corpus on all nodes, read only",)


def test_a_folder_is_mounted_without_a_topology_file_and_a_volume_that_went_fails_the_launch() -> None:
    use = VolumeUse(target="/data", folder="/srv/x", read_only=True)
    assert mounts_of(task("a", volumes=(use,)), Site()) == (Mount(source="/srv/x", target="/data", read_only=True),)
    with pytest.raises(NotFound, match="there is no volume corpus any more"):
        mounts_of(task("b", volumes=(VolumeUse(target="/data", volume="corpus"),)), Site())
