"""Topology files: what they say, and that every mistake in one is told with its line before anything changes."""

from __future__ import annotations

import pytest

from ampacity.model.errors import InvalidSpec
from ampacity.model.ids import NodeId
from ampacity.model.topology_file import parse_topology_file
from ampacity.model.topology_file.ranges import expanded
from ampacity.model.volume import Volume

FILE = """\
topology:
  fabric:
    levels: [spine, leaf]
    places:
      spine-1: {}
      leaf-1:
        inside: spine-1
        nodes: n[1-2], n5
      leaf-2: {inside: spine-1, nodes: [n3]}
feeds:
  pdu-1: {power: 12kW, nodes: n1}
licences: {matlab: 10}
"""


def test_what_a_file_says() -> None:
    read = parse_topology_file(FILE, file="t.yaml")
    site = read.site(3)
    assert site.levels == {"fabric": ("spine", "leaf")}
    assert site.places["fabric"] == {
        "n1": ("spine-1", "leaf-1"),
        "n2": ("spine-1", "leaf-1"),
        "n5": ("spine-1", "leaf-1"),
        "n3": ("spine-1", "leaf-2"),
    }
    assert (site.feeds, site.feed_of, site.licences, site.version) == (
        {"pdu-1": 12_000},
        {"n1": "pdu-1"},
        {"matlab": 10},
        3,
    )


def test_other_documents_are_passed_over() -> None:
    assert not parse_topology_file("name: x\nrun: echo\n---\nqueues: {a: {}}\n", file="t.yaml").about


TREE = "topology:\n  t:\n    levels: [room, rack]\n    places:\n"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (TREE + "      r1: {nodes: [n1]}\n      r2: {nodes: [n2, n1]}\n", 6, "n1 is in r1 as well, in line 5"),
        (TREE + "      r1: {nodes: [n1, n1]}\n", 5, "n1 is given twice"),
        (TREE + "      r1: {inside: r2}\n      r2: {inside: r1}\n", 5, "goes round in a circle: r1 in r2 in r1"),
        (TREE + "      r1: {inside: r1}\n", 5, "circle"),
        (TREE + "      r1: {}\n      r2: {inside: r11}\n", 6, "Did you mean r1?"),
        (TREE + "      a: {}\n      b: {inside: a}\n      c: {inside: b}\n", 7, "is 3 levels deep, and 2 are named"),
        (TREE + "      a: {}\n      a: {}\n", 6, "is given twice"),
        (TREE + "      a: {inside: b, nodse: [n1]}\n", 5, "Did you mean nodes?"),
        (TREE + "      a: 3\n", 5, "has to be a map"),
        (TREE + "      a: {nodes: 'n[3-1]'}\n", 5, "names no nodes"),
        ("topology:\n  t: {levels: [rack, rack], places: {}}\n", 2, "name each level once"),
        ("topology:\n  t: {places: {}}\n", 2, "levels"),
        ("feeds:\n  a: {power: 1kW, nodes: [n1]}\n  b: {power: 1kW, nodes: [n1]}\n", 3, "draws from a as well"),
        ("feeds:\n  a: {power: 1 horse}\n", 2, "is not a power"),
        ("licences: {a: 0}\n", 1, "between 1 and"),
        ("storage:\n  a: {path: here}\n", 2, "does not begin at the root"),
        ("storage:\n  a: {path: /x/../y}\n", 2, "Write /y."),
        ("storage:\n  a: {}\n", 2, "path"),
        ("storage:\n  a: {path: /x, nodes: [n1], near: [n1, n2]}\n", 2, "n2 does not have it"),
        ("storage:\n  a: {path: /x, tree: fabrik}\n", 2, "Did you mean fabric?"),
        ("storage:\n  a: {path: /x, worth: -1}\n", 2, "between 0 and 1000"),
        ("storage:\n  A/b: {path: /x}\n", 2, "A/b"),
        ("licences: {a: 1}\n---\nlicences: {b: 1}\n", 3, "the first time in line 1"),
    ],
)
def test_mistakes(text: str, line: int, said: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_topology_file(text, file="t.yaml")
    assert caught.value.where is not None
    assert (caught.value.where.file, caught.value.where.line) == ("t.yaml", line)
    assert said in f"{caught.value.where.key} {caught.value.message} {caught.value.hint}"


def test_nodes_that_are_not_known_are_told_with_their_lines() -> None:
    read = parse_topology_file(FILE, file="t.yaml")
    read.refuse_unknown([NodeId(f"n{index}") for index in range(1, 6)])
    with pytest.raises(InvalidSpec, match="there is no node n3") as caught:
        read.refuse_unknown([NodeId("n1"), NodeId("n2"), NodeId("n5")])
    assert caught.value.where is not None
    assert caught.value.where.line == 9


def test_volumes() -> None:
    text = """\
storage:
  corpus: {path: /mnt/corpus, near: "n[1-2]", tree: halls, worth: 30, read_only: true}
  scratch: {path: /nvme, nodes: n3}
---
topology:
  halls: {levels: [hall], places: {}}
"""
    read = parse_topology_file(text, file="t.yaml")
    n1, n2, n3 = (NodeId(f"n{index}") for index in (1, 2, 3))
    assert read.site(1).storage == {
        "corpus": Volume(path="/mnt/corpus", near=(n1, n2), tree="halls", worth=30, read_only=True),
        "scratch": Volume(path="/nvme", nodes=(n3,)),
    }
    with pytest.raises(InvalidSpec, match="there is no node n3") as caught:
        read.refuse_unknown([n1, n2])
    assert (caught.value.where.line, caught.value.where.key) == (3, "storage.scratch.nodes[0]")


def test_ranges() -> None:
    assert expanded("n1") == ["n1"]
    assert expanded("n[08-11]") == ["n08", "n09", "n10", "n11"]
    assert expanded("r[1-2]n[1,3]") == ["r1n1", "r1n3", "r2n1", "r2n3"]
    assert expanded("n[1-999999999]") is None
    assert expanded("n[") is None
    assert expanded("") is None
