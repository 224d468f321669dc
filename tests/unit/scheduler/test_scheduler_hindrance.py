"""Why rules, licences and watts keep a gang off: the sentence, and that carrying out the change lets it start."""

from __future__ import annotations

from dataclasses import replace

from ampacity.model.event import Row
from ampacity.model.node import Marks, Node
from ampacity.model.plan import Wait, WaitCode
from ampacity.model.resources import Counted, Range, ResourceRequest
from ampacity.model.rules import ApartRule, LabelRule, PlacementRules, TopologyMode, TopologyRule
from ampacity.model.site import Site
from ampacity.model.workload import SpecRevision
from ampacity.scheduler import build, plan
from scheduler_cluster import node, request, rows_of, running, workload


def ruled(parts: tuple[Row, ...], rules: PlacementRules) -> tuple[Row, ...]:
    return tuple(
        replace(row, spec=replace(row.spec, rules=rules)) if isinstance(row, SpecRevision) else row for row in parts
    )


def wait_of(
    *nodes: Node,
    asked: ResourceRequest | None = None,
    size: int = 1,
    rules: PlacementRules | None = None,
    site: Site | None = None,
    others: tuple[Row, ...] = (),
) -> Wait | None:
    parts = ruled(workload("w", asked or request(), num_nodes=Range.exactly(size)), rules or PlacementRules())
    state = build(rows_of(*nodes, parts, others))
    if site is not None:
        state.fleet.put_site(site)
    return next((wait for wait in plan(state, 0.0).waits if wait.workload == "w"), None)


def test_labels() -> None:
    rules = PlacementRules(selector=(LabelRule(key="zone", values=("a", "b")),))
    wait = wait_of(node("n1"), rules=rules)
    assert wait is not None
    assert wait.text == "needs a node with zone=a|b; no node has that."
    assert wait_of(replace(node("n1"), marks=Marks(labels={"zone": "b"})), rules=rules) is None


def test_taints() -> None:
    tainted = replace(node("n1"), marks=Marks(taints=("team=vision",)))
    wait = wait_of(tainted)
    assert wait is not None
    assert wait.text == "needs a node whose taints it tolerates; n1 has team=vision."
    assert wait_of(tainted, rules=PlacementRules(tolerations=("team",))) is None


def test_the_arithmetic_is_that_of_the_nodes_that_are_allowed() -> None:
    rules = PlacementRules(selector=(LabelRule(key="zone", values=("a",)),))
    small = replace(node("n1", devices=2), labels={"zone": "a"})
    others = running("w1", small, request("H100"))
    wait = wait_of(small, node("n2", devices=8), asked=request("H100:2"), rules=rules, others=others)
    assert wait is not None
    assert "1 of 2 free" in wait.text.replace("the most free on one node is 1 of 2", "1 of 2 free")
    assert "n2" not in wait.text


def test_one_leaf() -> None:
    rule = TopologyRule(tree="fabric", level="leaf", mode=TopologyMode.REQUIRED)
    nodes = [replace(node(f"n{i}"), trees={"fabric": ("s", f"leaf-{i // 2}")}) for i in range(4)]
    wait = wait_of(*nodes, size=3, rules=PlacementRules(topology=rule))
    assert wait is not None
    assert wait.text == "needs 3 nodes with room in one leaf of fabric; the most in one is 2, in s/leaf-0."
    assert wait.change == "ask for 2 nodes; or write `mode: preferred`"
    assert wait_of(*nodes, size=2, rules=PlacementRules(topology=rule)) is None
    preferred = replace(rule, mode=TopologyMode.PREFERRED)
    assert wait_of(*nodes, size=3, rules=PlacementRules(topology=preferred)) is None
    placeless = Site(levels={"fabric": ("spine", "leaf")})
    nowhere = wait_of(node("n1"), node("n2"), size=2, rules=PlacementRules(topology=rule), site=placeless)
    assert nowhere is not None
    assert nowhere.text == "needs 2 nodes with room in one leaf of fabric; no node has a place in fabric."
    assert nowhere.change == "write `mode: preferred`"


def test_a_level_that_nobody_knows() -> None:
    rule = TopologyRule(tree="fabric", level="pod")
    wait = wait_of(node("n1"), rules=PlacementRules(topology=rule))
    assert wait is not None
    assert (wait.code, wait.text) == (
        WaitCode.IMPOSSIBLE,
        "needs one pod of the tree fabric; its levels are spine and leaf.",
    )


def test_licences() -> None:
    asked = replace(request(), licences=(Counted(name="matlab", amount=2),))
    others = running("w1", node("n1"), asked)
    wait = wait_of(node("n1"), asked=asked, site=Site(licences={"matlab": 3}), others=others)
    assert wait is not None
    assert (wait.text, wait.change) == (
        "needs 2 matlab; 1 of 3 licences are left.",
        "free 1 matlab; or ask for 1 matlab",
    )
    assert wait_of(node("n1"), asked=asked, site=Site(licences={"matlab": 4}), others=others) is None


def test_more_licences_than_there_are() -> None:
    asked = replace(request(), licences=(Counted(name="matlab", amount=2),))
    wait = wait_of(node("n1"), node("n2"), asked=asked, size=2, site=Site(licences={"matlab": 3}))
    assert wait is not None
    assert wait.change == (
        "name 4 matlab under `licences` in the topology file; or ask for 1 matlab; or ask for 1 node"
    )


def test_counted_things() -> None:
    fpga = replace(node("n1"), counted={"fpga": 2})
    asked = replace(request(), counted=(Counted(name="fpga", amount=2),))
    others = running("w1", fpga, replace(asked, counted=(Counted(name="fpga", amount=1),)))
    wait = wait_of(fpga, asked=asked, others=others)
    assert wait is not None
    assert wait.text == "needs 2 fpga on a node; the most left on one is 1, on n1."
    assert wait.change == "free 1 fpga on n1; or ask for 1 fpga"
    none = wait_of(node("n1"), asked=asked)
    assert none is not None
    assert (none.code, none.text) == (WaitCode.IMPOSSIBLE, "asks for 2 fpga; no node has any.")


def test_watts() -> None:
    fed = [replace(node(f"n{i}"), feed="pdu-1") for i in range(2)]
    asked = replace(request(), power_w=600)
    wait = wait_of(*fed, asked=asked, size=2, site=Site(feeds={"pdu-1": 1000}))
    assert wait is not None
    assert wait.text == "needs 600W for each of 2 nodes; pdu-1 has 1kW of 1kW left."
    assert wait.change == "ask for 500W; or ask for 1 node"
    none = wait_of(fed[0], asked=asked, site=Site(feeds={"pdu-1": 0}))
    assert none is not None
    assert none.change == "give pdu-1 more watts in the topology file"
    assert wait_of(*fed, asked=asked, size=2, site=Site(feeds={"pdu-1": 1200})) is None


def test_neighbours() -> None:
    rules = PlacementRules(apart=ApartRule(workloads=("name-w1",)))
    wait = wait_of(node("n1"), rules=rules, others=running("w1", node("n1"), request()))
    assert wait is not None
    assert wait.text == "keeps apart from name-w1, and every node with room is too near to one of them."
    assert wait_of(node("n1"), node("n2"), rules=rules, others=running("w1", node("n1"), request())) is None
