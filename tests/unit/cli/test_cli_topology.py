"""``ampacity nodes label`` and ``taint``, and ``apply`` of a file about topology."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cli_client_double import ClientDouble, a_node
from click.testing import Result

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
