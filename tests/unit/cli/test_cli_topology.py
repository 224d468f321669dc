"""``ampacity nodes label`` and ``taint``, and ``apply`` of a file about topology."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cli_client_double import ClientDouble
from cli_nouns import a_node
from click.testing import Result

from ampacity.model.ids import NodeId
from ampacity.model.site import Site
from ampacity.model.volume import Volume, VolumeUse

Amp = Callable[..., Result]

FILE = "topology:\n  fabric: {levels: [leaf], places: {a: {nodes: n1}}}\n"


def test_labels_and_taints_are_given_and_taken_off(amp: Amp, client: ClientDouble) -> None:
    name = "n1"
    client.node_views[name] = a_node(name)
    done = amp("nodes", "label", name, "zone=a", "disk-")
    assert done.stdout == f"{name}: zone=a\n"
    assert ("mark_node", name, {"zone": "a", "disk": None}, {}) in client.calls
    assert amp("nodes", "taint", name, "team=vision", "repair").stdout == f"{name}: !team=vision, !repair\n"
    assert "!team=vision" in amp("nodes").stdout
    refused = amp("nodes", "label", name, "zone")
    assert refused.exit_code == 2
    assert "zone=VALUE" in refused.stderr


def test_a_topology_file_is_applied(
    amp: Amp, amp_json: Callable[..., Any], client: ClientDouble, tmp_path: Path
) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(FILE + "---\nname: hello\nrun: echo\n")
    lines = amp("apply", str(file)).stdout.splitlines()
    assert lines == ["topology changed: tree fabric (leaf) comes with 1 node", "hello: task created"]
    assert ("apply_topology", file.read_text(), str(file), False) in client.calls
    assert amp("apply", "--dry-run", str(file)).stdout.splitlines()[0].startswith("topology would change: tree")
    found = amp_json("apply", "--dry-run", str(file))
    assert found["topology"][0]["changes"] == ["tree fabric (leaf) comes with 1 node"]


def test_a_wrong_topology_file_changes_nothing(amp: Amp, client: ClientDouble, tmp_path: Path) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(FILE.replace("nodes: n1", "nodes: n1, inside: b"))
    refused = amp("apply", str(file))
    assert refused.exit_code == 2
    assert f"{file}:2" in refused.stderr
    assert not client.calls


def test_volumes_are_listed_with_who_mounts_them(amp: Amp, amp_json: Callable[..., Any], client: ClientDouble) -> None:
    assert amp("volumes").stderr.startswith("There are no volumes: ")
    assert amp_json("volumes") == {"volumes": []}
    many = tuple(NodeId(f"n{index}") for index in range(1, 6))
    client.site = Site(
        storage={
            "corpus": Volume(path="/mnt/corpus", near=many, tree="fabric", read_only=True),
            "scratch": Volume(path="/nvme", nodes=many[:1]),
            "lost": Volume(path="/lost", nodes=()),
        }
    )
    assert amp("run", "-d", "--name", "b", "-v", "corpus:/data:ro", "-v", "./here:/x", "--", "true").exit_code == 0
    assert amp("run", "-d", "--name", "a", "--volume", "corpus:/data", "--", "true").exit_code == 0
    lines = amp("volumes").stdout.splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "VOLUME PATH NODES NEAR WORTH MAY MOUNTED BY",
        "corpus /mnt/corpus all n1, n2, n3 and 2 more 10 by fabric read a, b",
        "lost /lost none write",
        "scratch /nvme n1 write",
    ]
    found = {each["name"]: each for each in amp_json("volumes")["volumes"]}
    assert found["corpus"]["mounted_by"] == ["a", "b"]
    assert found["scratch"]["nodes"] == ["n1"]


def test_volumes_of_run_are_said_as_docker_has_them(amp: Amp, client: ClientDouble, tmp_path: Path) -> None:
    amp("run", "-d", "--name", "b", "-v", "corpus:/data:ro", "-v", "/srv/here:/x", "--", "true")
    (view,) = client.views.values()
    assert view.spec.volumes == (
        VolumeUse(target="/data", volume="corpus", read_only=True),
        VolumeUse(target="/x", folder="/srv/here"),
    )
    for wrong, said in (
        ("corpus", "is not understood"),
        (":/data", "is not understood"),
        ("corpus:/data:rx", "is not understood"),
        ("corpus:data", "does not begin at the root"),
        ("corpus:/proc", "no job can do without"),
    ):
        refused = amp("run", "-v", wrong, "--", "true")
        assert refused.exit_code == 2
        assert "--volume" in refused.stderr
        assert said in refused.stderr
    twice = amp("run", "-v", "a:/data", "-v", "b:/data", "--", "true")
    assert "something else is at /data already" in twice.stderr


def test_a_node_is_shown_with_where_it_stands(amp: Amp, amp_json: Callable[..., Any], client: ClientDouble) -> None:
    client.node_views["n1"] = view = a_node("n1")
    assert amp("nodes", "show", "n1").stdout == "n1\n"
    client.node_views["n1"] = replace(view, node=replace(view.node, trees={"rail": ("r1",)}))
    n1, n2 = NodeId("n1"), NodeId("n2")
    client.site = Site(
        levels={"fabric": ("spine", "leaf")},
        places={"fabric": {n1: ("s1", "l2")}},
        feeds={"pdu": 12_000},
        feed_of={n1: "pdu"},
        storage={
            "corpus": Volume(path="/c", near=(n1,)),
            "scratch": Volume(path="/s", nodes=(n2,)),
            "models": Volume(path="/m"),
        },
    )
    assert amp("nodes", "show", "n1").stdout.splitlines()[1:] == [
        "fabric     s1 > l2",
        "rail       r1",
        "feed       pdu, 12kW",
        "volumes    corpus (/c, near), models (/m)",
    ]
    assert amp_json("nodes", "show", "n1")["site"] == {
        "trees": {"fabric": ["s1", "l2"], "rail": ["r1"]},
        "feed": "pdu",
        "volumes": {"corpus": True, "models": False},
    }
