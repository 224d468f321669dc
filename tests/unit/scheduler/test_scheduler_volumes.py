"""Volumes: who mounts one goes where it is and, where that makes a difference, near to it; and is told so."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_scheduler_preempting import NOW, asks, runs

from ampacity.model.event import Draft, Event, EventKind, Row, put
from ampacity.model.ids import NodeId
from ampacity.model.node import Node
from ampacity.model.plan import Plan, Wait
from ampacity.model.resources import Range
from ampacity.model.rules import LabelRule, PlacementRules, Preference
from ampacity.model.site import Site
from ampacity.model.volume import Volume, VolumeUse
from ampacity.model.workload import SpecRevision
from ampacity.scheduler import build, plan
from scheduler_cluster import node, request, rows_of, running, workload

N1, N2, N3, N4 = (NodeId(name) for name in ("n1", "n2", "n3", "n4"))


def mounting(
    parts: tuple[Row, ...], *volumes: str | tuple[str, int], rules: PlacementRules | None = None
) -> tuple[Row, ...]:
    """Those rows, of a workload that mounts these volumes, some at a worth of its own."""
    pairs = [each if isinstance(each, tuple) else (each, None) for each in volumes]
    uses = tuple(VolumeUse(target=f"/{name}", volume=name, worth=worth) for name, worth in pairs)
    return tuple(
        replace(row, spec=replace(row.spec, volumes=uses, rules=rules or row.spec.rules))
        if isinstance(row, SpecRevision)
        else row
        for row in parts
    )


def site(**volumes: Volume) -> Site:
    return Site(storage=volumes)


def in_fabric(id: str, *path: str, **more: int) -> Node:
    return replace(node(id, **more), trees={"fabric": path})


def planned(*rows: Row | tuple[Row, ...]) -> Plan:
    return plan(build(rows_of(*rows)), 0.0)


def places(made: Plan, of: str = "w") -> list[str]:
    return [place.node for start in made.starts if start.workload == of for place in start.placements]


def wait_of(made: Plan) -> Wait:
    (wait,) = made.waits
    return wait


NODES = (node("n1", cpus=4), node("n2", cpus=8), node("n3", cpus=16))


def test_it_goes_to_a_node_that_has_the_volume_though_another_one_fits_better() -> None:
    volumes = site(corpus=Volume(path="/c", nodes=(N2, N3)))
    assert places(planned(*NODES, volumes, mounting(workload("w", request()), "corpus"))) == ["n2"]
    assert places(planned(*NODES, volumes, workload("w", request()))) == ["n1"]


def test_it_needs_all_its_volumes_on_one_node() -> None:
    volumes = site(a=Volume(path="/a", nodes=(N1, N2)), b=Volume(path="/b", nodes=(N2, N3)), c=Volume(path="/c"))
    assert places(planned(*NODES, volumes, mounting(workload("w", request()), "a", "b", "c"))) == ["n2"]


def test_a_gang_has_the_volume_on_each_of_its_nodes() -> None:
    volumes = site(corpus=Volume(path="/c", nodes=(N1, N3)))
    gang = mounting(workload("w", request(), num_nodes=Range(minimum=2, maximum=3)), "corpus")
    assert sorted(places(planned(*NODES, volumes, gang))) == ["n1", "n3"]


def test_near_comes_before_a_better_fit_and_not_before_room() -> None:
    volumes = site(corpus=Volume(path="/c", near=(N3,)))
    first = mounting(workload("w", request(cpus=16)), "corpus")
    made = planned(*NODES, volumes, first)
    assert places(made) == ["n3"]
    assert made.starts[0].why.endswith("; near corpus")
    full = running("held", NODES[2], request(cpus=16))
    made = planned(*NODES, volumes, full, mounting(workload("w", request(cpus=4)), "corpus"))
    assert places(made) == ["n1"], "far is better than not at all"
    assert made.starts[0].why.endswith("; far from corpus")


def test_by_a_tree_the_next_leaf_is_nearer_than_another_spine() -> None:
    nodes = [
        in_fabric("n1", "s0", "l0", cpus=64),
        in_fabric("n2", "s0", "l0", cpus=32),
        in_fabric("n3", "s0", "l1", cpus=16),
        in_fabric("n4", "s1", "l2", cpus=8),
    ]
    volumes = site(corpus=Volume(path="/c", near=(N1,), tree="fabric", worth=9))
    took: list[str] = []
    held: list[tuple[Row, ...]] = []
    for _ in nodes:
        made = planned(*nodes, volumes, *held, mounting(workload("w", request(cpus=8)), "corpus"))
        (place,) = places(made)
        took.append(place)
        chosen = next(each for each in nodes if each.id == place)
        held.append(running(f"held-{place}", chosen, request(cpus=chosen.cpu_milli // 1000)))
    assert took == ["n1", "n2", "n3", "n4"]


@pytest.mark.parametrize(("worth", "goes_to"), [(None, "n3"), (4, "n2"), (0, "n2")])
def test_what_near_is_worth_is_weighed_against_preferences(worth: int | None, goes_to: str) -> None:
    volumes = site(corpus=Volume(path="/c", near=(N3,), worth=10))
    nodes = (NODES[0], replace(NODES[1], labels={"disk": "nvme"}), NODES[2])
    rules = PlacementRules(prefer=(Preference(labels=(LabelRule(key="disk", values=("nvme",)),), worth=5),))
    use = "corpus" if worth is None else ("corpus", worth)
    assert places(planned(*nodes, volumes, mounting(workload("w", request()), use, rules=rules))) == [goes_to]


def test_of_several_volumes_the_nearness_adds_up() -> None:
    volumes = site(
        a=Volume(path="/a", near=(N1,), worth=3),
        b=Volume(path="/b", near=(N2,), worth=2),
        c=Volume(path="/c", near=(N2,), worth=2),
    )
    made = planned(*NODES, volumes, mounting(workload("w", request()), "a", "b", "c"))
    assert places(made) == ["n2"]
    assert made.starts[0].why.endswith("; far from a, near b and near c")


def test_a_gang_says_how_many_of_its_nodes_are_near() -> None:
    volumes = site(corpus=Volume(path="/c", near=(N3,)))
    made = planned(*NODES, volumes, mounting(workload("w", request(), num_nodes=Range.exactly(2)), "corpus"))
    assert "n3" in places(made)
    assert made.starts[0].why.endswith("; near corpus on 1 of 2 nodes")


def test_an_elastic_gang_grows_where_the_volume_is_and_the_nearest_first() -> None:
    volumes = site(corpus=Volume(path="/c", nodes=(N1, N3, N4), near=(N4,)))
    nodes = [node(f"n{index}", devices=8) for index in range(1, 5)]
    held = mounting(runs("w", "H100:8", [nodes[0]], size=Range(minimum=1, maximum=2)), "corpus")
    (resize,) = plan(build(rows_of(*nodes, volumes, held)), NOW).resizes
    assert [place.node for place in resize.placements] == ["n1", "n4"]


def test_a_volume_that_moves_is_heeded_at_once() -> None:
    rows = rows_of(*NODES, site(corpus=Volume(path="/c", nodes=())), mounting(workload("w", request()), "corpus"))
    state = build(rows)
    assert places(plan(state, 0.0)) == []
    for nodes in ((N3,), (N2,), None):
        moved = replace(site(corpus=Volume(path="/c", nodes=nodes, near=(N1,))), version=rows.sites["site"].version + 1)
        event = Event(seq=rows.seq + 1, draft=Draft(kind=EventKind.TOPOLOGY_CHANGED, at=0.0, changes=(put(moved),)))
        rows.apply(event)
        state.apply(event)
        assert places(plan(state, 0.0)) == [nodes[0] if nodes else "n1"]
        assert plan(state, 0.0) == plan(build(rows), 0.0)


def test_too_few_nodes_have_it_and_naming_another_one_is_enough() -> None:
    gang = mounting(workload("w", request(), num_nodes=Range.exactly(2)), "corpus")
    wait = wait_of(planned(*NODES, site(corpus=Volume(path="/c", nodes=(N2,))), gang))
    assert wait.text == "needs 2 nodes with the volume corpus; only n2 has it."
    assert wait.change == "ask for 1 node; or name more nodes for corpus under `storage` in the topology file"
    assert len(places(planned(*NODES, site(corpus=Volume(path="/c", nodes=(N2, N3))), gang))) == 2
    one = mounting(workload("w", request()), "corpus")
    assert places(planned(*NODES, site(corpus=Volume(path="/c", nodes=(N2,))), one)) == ["n2"]


def test_those_that_have_it_may_be_kept_off_by_other_rules() -> None:
    zoned = (replace(NODES[0], labels={"zone": "a"}), *NODES[1:])
    rules = PlacementRules(selector=(LabelRule(key="zone", values=("a",)),))
    asker = mounting(workload("w", request()), "corpus", rules=rules)
    wait = wait_of(planned(*zoned, site(corpus=Volume(path="/c", nodes=(N2, N3))), asker))
    assert wait.text == (
        "needs a node with the volume corpus; no node that its rules allow has it "
        "(n2 and n3, which its rules do not allow, have it as well)."
    )


def test_one_that_no_file_names_any_more() -> None:
    wait = wait_of(planned(*NODES, mounting(workload("w", request()), "corpus")))
    assert wait.text == "needs the volume corpus, which is not there any more."
    assert wait.change == "name corpus under `storage` in the topology file"


def test_nodes_that_have_it_and_are_too_small_are_named() -> None:
    asker = mounting(workload("w", request(cpus=16)), "corpus")
    wait = wait_of(planned(*NODES, site(corpus=Volume(path="/c", nodes=(N1, N2))), asker))
    assert wait.text == (
        "may go to n1 and n2 only, by its rules and volumes, and asks for 16 CPUs; the largest node has 8."
    )
    assert wait.change.startswith("Ask for at most 8 CPUs. The nodes have 8 CPUs and ")


def test_one_that_waits_for_room_where_its_volume_is_takes_a_place_there() -> None:
    """Who may be stopped elsewhere is left alone: that would not help."""
    volumes = site(corpus=Volume(path="/c", nodes=(N2,)))
    nodes = [node(f"n{index}", devices=8) for index in (1, 2)]
    held = [runs(f"on-{each.id}", "H100:8", [each], priority=-100) for each in nodes]
    made = plan(build(rows_of(*nodes, volumes, *held, mounting(asks("w", "H100:8", priority=100), "corpus"))), NOW)
    assert [stop.attempt for stop in made.stops] == ["on-n2.0.1"]
