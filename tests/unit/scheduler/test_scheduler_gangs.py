"""Rules of places: topology, labels and taints, neighbours, licences and watts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from ampacity.model.ids import DEFAULT_PROJECT, NodeId, WorkloadId
from ampacity.model.node import Marks, Node
from ampacity.model.resources import Counted, Range, ResourceRequest
from ampacity.model.rules import (
    ApartRule,
    LabelRule,
    PlacementRules,
    Preference,
    TopologyMode,
    TopologyRule,
)
from ampacity.model.site import Site
from ampacity.scheduler.board import Board
from ampacity.scheduler.fleet import Fleet
from ampacity.scheduler.gang import Gang
from ampacity.scheduler.neighbours import Neighbours
from ampacity.scheduler.place import place
from scheduler_cluster import node, request

IN_ONE_LEAF = TopologyRule(tree="fabric", level="leaf", mode=TopologyMode.REQUIRED)


def leaf(name: str, count: int, *, spine: str = "s0", devices: int = 8) -> list[Node]:
    return [
        replace(node(f"{name}-n{index}", devices=devices), trees={"fabric": (spine, name)}) for index in range(count)
    ]


def board(nodes: Iterable[Node], site: Site | None = None, neighbours: Neighbours | None = None) -> Board:
    fleet = Fleet()
    for each in nodes:
        fleet.put_node(each)
    if site is not None:
        fleet.put_site(site)
    return Board.of(fleet, neighbours)


def placed(on: Board, asked: ResourceRequest, size: Range | int = 1, **rules: object) -> list[str] | None:
    exact = Range.exactly(size) if isinstance(size, int) else size
    gang = Gang(resources=asked, size=exact, rules=PlacementRules(**rules))  # type: ignore[arg-type]
    fits = place(on, gang)
    return None if fits is None else [str(fit.node) for fit in fits]


def test_a_required_level_holds_all_or_nothing_starts() -> None:
    on = board([*leaf("a", 3), *leaf("b", 4)])
    assert placed(on, request("H100:8"), 4, topology=IN_ONE_LEAF) == ["b-n0", "b-n1", "b-n2", "b-n3"]
    assert placed(on, request("H100:8"), 5, topology=IN_ONE_LEAF) is None
    assert placed(on, request("H100:8"), 5) is not None


def test_the_place_with_the_least_room_that_holds_it_is_taken() -> None:
    on = board([*leaf("a", 4), *leaf("b", 2), *leaf("c", 3)])
    assert placed(on, request("H100:8"), 2, topology=IN_ONE_LEAF) == ["b-n0", "b-n1"]
    assert placed(on, request("H100:8"), 3) == ["c-n0", "c-n1", "c-n2"]


def test_a_preferred_level_falls_back_to_the_one_above() -> None:
    rule = replace(IN_ONE_LEAF, mode=TopologyMode.PREFERRED)
    on = board([*leaf("a", 2), *leaf("b", 2), *leaf("c", 3, spine="s1")])
    assert placed(on, request("H100:8"), 4, topology=rule) == ["a-n0", "a-n1", "b-n0", "b-n1"]
    assert placed(on, request("H100:8"), 3, topology=rule) == ["c-n0", "c-n1", "c-n2"]
    assert placed(on, request("H100:8"), 7, topology=rule) is not None


def test_a_gang_without_a_rule_takes_few_places_and_its_ranks_go_by_distance() -> None:
    on = board([*leaf("a", 3), *leaf("b", 2), *leaf("c", 2)])
    found = placed(on, request("H100:8"), 5)
    assert found == ["a-n0", "a-n1", "a-n2", "b-n0", "b-n1"]


def test_an_elastic_gang_goes_where_it_can_grow() -> None:
    on = board([*leaf("a", 2), *leaf("b", 4)])
    assert placed(on, request("H100:8"), Range(minimum=2, maximum=3), topology=IN_ONE_LEAF) == ["b-n0", "b-n1", "b-n2"]
    assert placed(on, request("H100:8"), Range.at_least(2), topology=IN_ONE_LEAF) == [f"b-n{i}" for i in range(4)]


def test_ranks_of_one_number_sit_on_one_rail() -> None:
    nodes = leaf("a", 2, devices=4)
    on = board(nodes)
    fits = place(on, Gang(resources=request("H100:2"), size=Range.exactly(1)))
    assert fits is not None
    on.take(fits[0], WorkloadId("w0"))
    found = place(on, Gang(resources=request("H100:2"), size=Range.exactly(2)))
    assert found is not None
    assert [[share.device[-1] for share in fit.allocation.devices] for fit in found] == [["2", "3"], ["2", "3"]]


def test_an_unknown_tree_or_level_holds_nothing() -> None:
    on = board(leaf("a", 2))
    assert placed(on, request("H100:8"), 1, topology=TopologyRule(tree="moon", level="crater")) is None
    assert placed(on, request("H100:8"), 2, topology=TopologyRule(tree="fabric", level="crater")) is None


def test_a_file_says_where_nodes_stand_and_wins() -> None:
    nodes = leaf("a", 4)
    row = {NodeId(f"a-n{index}"): ("p", f"row-{index // 2}") for index in range(4)}
    on = board(nodes, Site(levels={"fabric": ("pod", "row")}, places={"fabric": row}))
    rule = TopologyRule(tree="fabric", level="row", mode=TopologyMode.REQUIRED)
    assert placed(on, request("H100:8"), 2, topology=rule) == ["a-n0", "a-n1"]
    assert placed(on, request("H100:8"), 3, topology=rule) is None


def test_labels_and_taints() -> None:
    fast = replace(node("n1"), labels={"disk": "nvme"}, marks=Marks(labels={"zone": "b"}))
    kept = replace(node("n2"), labels={"zone": "a"}, taints=("team=vision",))
    marked = replace(node("n3"), labels={"zone": "a"}, marks=Marks(labels={"zone": "c"}, taints=("repair",)))
    on = board([fast, kept, marked])

    def where(*rules: LabelRule, tolerations: tuple[str, ...] = ("*",)) -> str | None:
        found = placed(on, request(), selector=rules, tolerations=tolerations)
        return None if found is None else found[0]

    assert where(LabelRule(key="zone", values=("a",))) == "n2"
    assert where(LabelRule(key="zone", values=("c", "d"))) == "n3"
    assert where(LabelRule(key="zone", values=("b", "a"), negated=True)) == "n3"
    assert where(LabelRule(key="disk", values=("*",), negated=True)) == "n2"
    assert where(LabelRule(key="zone", values=("a",)), tolerations=()) is None
    assert where(LabelRule(key="zone", values=("a",)), tolerations=("team",)) == "n2"
    assert where(LabelRule(key="zone", values=("a",)), tolerations=("team=vision",)) == "n2"
    assert where(LabelRule(key="zone", values=("a",)), tolerations=("team=audio",)) is None
    assert where(tolerations=()) == "n1"


def test_what_changes_of_marks_is_seen() -> None:
    fleet = Fleet()
    fleet.put_node(node("n1"))
    rules = PlacementRules(selector=(LabelRule(key="zone", values=("a",)),))
    gang = Gang(resources=request(), size=Range.exactly(1), rules=rules)
    assert place(Board.of(fleet), gang) is None
    fleet.put_node(replace(node("n1"), marks=Marks(labels={"zone": "a"})))
    assert place(Board.of(fleet), gang) is not None
    fleet.remove_node(NodeId("n1"))
    fleet.put_node(node("n2"))
    assert place(Board.of(fleet), gang) is None


def test_preferred_nodes_first_and_others_where_those_do_not_do() -> None:
    cached = replace(node("n2", devices=2), labels={"cache/imagenet": "yes"})
    on = board([node("n1", devices=1), cached, node("n3", devices=4)])
    near = Preference(labels=(LabelRule(key="cache/imagenet", values=("*",)),), worth=2)
    assert placed(on, request("H100"), prefer=(near,)) == ["n2"]
    assert placed(on, request("H100:4"), prefer=(near,)) == ["n3"]
    assert placed(on, request("H100"), 2, prefer=(near,)) == ["n1", "n2"]


def test_workloads_keep_apart_both_ways() -> None:
    neighbours = Neighbours()
    db, web = (DEFAULT_PROJECT, "db"), (DEFAULT_PROJECT, "web")
    rule = ApartRule(workloads=("web", "db"))
    neighbours.put(WorkloadId("w1"), db, rule)
    neighbours.put(WorkloadId("w2"), web, None)
    on = board([node("n1"), node("n2"), node("n3")], neighbours=neighbours)
    of_db = Gang(resources=request(), size=Range.exactly(1), rules=PlacementRules(apart=rule), name=db)
    of_web = Gang(resources=request(), size=Range.exactly(1), name=web)
    for gang, workload, expected in ((of_db, "w1", "n1"), (of_db, "w1", "n2"), (of_web, "w2", "n3")):
        (fit,) = place(on, gang) or ()
        assert fit.node == expected
        on.take(fit, WorkloadId(workload))
    assert place(on, of_db) is None
    assert place(on, Gang(resources=request(), size=Range.exactly(1))) is not None


def test_apart_by_a_place_of_a_tree() -> None:
    neighbours = Neighbours()
    rule = ApartRule(workloads=("web",), tree="fabric", level="leaf")
    web = (DEFAULT_PROJECT, "web")
    neighbours.put(WorkloadId("w1"), web, rule)
    on = board([*leaf("a", 2), *leaf("b", 2)], neighbours=neighbours)
    gang = Gang(resources=request("H100"), size=Range.exactly(1), rules=PlacementRules(apart=rule), name=web)
    for expected in ("a-n0", "b-n0"):
        (fit,) = place(on, gang) or ()
        assert fit.node == expected
        on.take(fit, WorkloadId("w1"))
    assert place(on, gang) is None


def test_counted_things_of_a_node_and_licences_of_all() -> None:
    with_fpga = replace(node("n2"), counted={"fpga": 2})
    on = board([node("n1"), with_fpga], Site(licences={"matlab": 3}))
    asked = replace(request(), counted=(Counted(name="fpga", amount=1),), licences=(Counted(name="matlab", amount=2),))
    fits = place(on, Gang(resources=asked, size=Range.exactly(1)))
    assert fits is not None
    assert fits[0].node == "n2"
    mark = on.mark()
    on.take(fits[0], WorkloadId("w1"))
    assert place(on, Gang(resources=asked, size=Range.exactly(1))) is None, "one licence is left"
    one = replace(asked, licences=())
    (fit,) = place(on, Gang(resources=one, size=Range.exactly(1))) or ()
    on.take(fit, WorkloadId("w2"))
    assert place(on, Gang(resources=one, size=Range.exactly(1))) is None, "no FPGA is left"
    on.rollback(mark)
    assert place(on, Gang(resources=asked, size=Range.exactly(1))) is not None
    assert placed(on, replace(request(), licences=(Counted(name="unheard", amount=1),))) is None


@pytest.mark.parametrize(
    ("each_w", "expected"), [(600, ["n0", "n1", "n2"]), (601, ["n0", "n2"]), (700, ["n0", "n2"]), (1500, ["n2"])]
)
def test_the_watts_of_a_feed_are_not_exceeded(each_w: int, expected: list[str]) -> None:
    nodes = [replace(node(f"n{index}"), feed="pdu-1" if index < 2 else "") for index in range(3)]
    on = board(nodes, Site(feeds={"pdu-1": 1200}))
    found = placed(on, replace(request(), power_w=each_w), Range.at_least(1))
    assert found == expected


def test_watts_given_out_count() -> None:
    on = board([replace(node("n0"), feed="pdu-1")], Site(feeds={"pdu-1": 1000}))
    gang = Gang(resources=replace(request(), power_w=600), size=Range.exactly(1))
    (fit,) = place(on, gang) or ()
    on.take(fit, WorkloadId("w1"))
    assert place(on, gang) is None
