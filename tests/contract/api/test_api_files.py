"""Workload files over the wire: parsed by the server, refused by line and key."""

from __future__ import annotations

from pathlib import Path

import pytest
from plane_double import PlaneDouble

from ampacity.client import Client
from ampacity.model.errors import InvalidSpec, NameTaken
from ampacity.model.workload import ServiceSpec, WorkloadKind, WorkloadSpec

TWO = """\
name: prepare
type: task
run: echo prepare
---
name: pretrain
type: train
after: [prepare]
workdir: .
run: python train.py
"""


def test_a_file_with_several_documents_is_several_workloads(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(TWO)
    first, second = client.submit(path, owner="me", project="p")
    assert (first.workload.name, second.workload.name) == ("prepare", "pretrain")
    assert second.spec.kind is WorkloadKind.TRAIN
    assert second.spec.workdir == str(tmp_path)
    assert (second.workload.project, second.workload.owner) == ("p", "me")


def test_a_text_is_taken_from_the_current_folder(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (view,) = client.submit("name: a\ntype: task\nrun: 'true'\nworkdir: .\n")
    assert view.spec.workdir == str(tmp_path)


def test_a_mistake_is_told_by_file_line_and_key(client: Client, plane: PlaneDouble, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("name: a\ntype: task\nrunn: 'true'\n")
    with pytest.raises(InvalidSpec) as refused:
        client.submit(path)
    where = refused.value.where
    assert (where.file, where.line, where.key) == (str(path), 3, "runn")
    assert "run" in refused.value.hint
    assert str(refused.value).count("wrong.yaml") == 1
    assert "submit" not in plane.calls


def test_a_file_is_accepted_whole_or_not_at_all(client: Client, plane: PlaneDouble) -> None:
    plane.add("pretrain", created_at=1.0)
    with pytest.raises(NameTaken, match="'pretrain' is taken"):
        client.submit(TWO)
    assert [view.workload.name for view in client.workloads(all=True)] == ["pretrain"]


def test_an_array_is_one_call_and_told_in_short(client: Client, plane: PlaneDouble) -> None:
    spec = WorkloadSpec(name="sweep", kind=WorkloadKind.TASK, run="true")
    made = client.submit_array(spec, "3,0-1")
    assert (made.name, made.indices, plane.calls["submit"]) == ("a", (0, 1, 3), 1)
    names = [client.workload(ident).workload.name for ident in made.workloads]
    assert names == ["sweep-0", "sweep-1", "sweep-3"]


@pytest.mark.parametrize(
    ("indices", "says"),
    [("x", "no range"), ("3-1", "ends before it begins"), ("1,1", "twice"), ("0-9:0", "out of bounds"),
     ("0-99999", "more than 10,000"), ("-1", "no range"), ("1:2", "no range"), ("", "no range")],
)  # fmt: skip
def test_indices_that_are_none_are_refused(client: Client, plane: PlaneDouble, indices: str, says: str) -> None:
    spec = WorkloadSpec(name="sweep", kind=WorkloadKind.TASK, run="true")
    with pytest.raises(InvalidSpec, match=says) as refused:
        client.submit_array(spec, indices)
    assert refused.value.where.key == "array"
    assert not list(client.workloads(all=True))


def test_a_service_is_no_array(client: Client, plane: PlaneDouble) -> None:
    spec = WorkloadSpec(name="chat", kind=WorkloadKind.SERVICE, run="true", service=ServiceSpec())
    with pytest.raises(InvalidSpec, match="one task, train or data"):
        client.submit_array(spec, "0-3")


def test_a_file_that_cannot_be_read_is_told(client: Client, tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec, match=r"none\.yaml: No such file"):
        client.submit(tmp_path / "none.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidSpec, match="not UTF-8"):
        client.submit(binary)
