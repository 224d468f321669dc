"""The rank's side: reports, checkpoint folders, and what is never restored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ampacity.model.attempt import Attempt, Member
from ampacity.model.ids import AttemptId, NodeId, WorkloadId
from ampacity.model.resources import Allocation, DeviceShare
from ampacity.model.workload import CheckpointPolicy, WorkloadKind, WorkloadSpec
from ampacity.training.launch import gang_command, ranks_per_node
from ampacity.training.rank import folders, info, progress, report


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_owner", None)
    for name in ("AMPACITY_MEMBER_DIR", "RANK", "WORLD_SIZE", "AMPACITY_CHECKPOINT_DIR", "AMPACITY_INCARNATION"):
        monkeypatch.delenv(name, raising=False)


def test_outside_a_job_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report(step=1, loss=2.0)
    assert list(tmp_path.iterdir()) == []
    assert (info().rank, info().world_size, info().checkpoint_dir) == (0, 1, "")


def test_a_report_is_one_line_with_its_time_and_incarnation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMPACITY_MEMBER_DIR", str(tmp_path))
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("AMPACITY_INCARNATION", "2")
    report(step=1, loss=2, tokens=7, grad_norm=0.5)
    report(step=2)
    lines = [json.loads(line) for line in (tmp_path / "progress" / "rank-3.jsonl").read_text().splitlines()]
    assert lines[0].pop("at") <= lines[1].pop("at")
    assert lines == [
        {"incarnation": 2, "step": 1, "loss": 2.0, "tokens": 7, "grad_norm": 0.5},
        {"incarnation": 2, "step": 2},
    ]


def saved(root: Path, step: int) -> Path:
    folder = folders.begin(root, step)
    (folder / "data").write_text(str(step))
    return folder


def test_a_checkpoint_counts_once_it_is_sealed(tmp_path: Path) -> None:
    folder = saved(tmp_path, 10)
    assert folders.complete(tmp_path) == []
    folders.seal(folder)
    folders.seal(saved(tmp_path, 20))
    saved(tmp_path, 30)
    assert folders.complete(tmp_path) == [20, 10]


def test_saving_a_step_again_drops_what_an_interrupted_save_left(tmp_path: Path) -> None:
    (saved(tmp_path, 10) / "torn").write_text("half")
    folder = folders.begin(tmp_path, 10)
    assert list(folder.iterdir()) == []
    folders.seal(folder)
    again = folders.begin(tmp_path, 10)
    assert folders.complete(tmp_path) == [], "while it is written anew it does not count"
    assert list(again.iterdir()) == []


def test_pruning_keeps_the_newest_complete_ones(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40):
        folders.seal(saved(tmp_path, step))
    saved(tmp_path, 50)
    folders.prune(tmp_path, keep=2)
    assert folders.complete(tmp_path) == [40, 30]
    folders.prune(tmp_path, keep=1)
    assert folders.complete(tmp_path) == [40]


def test_other_things_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "step-x").mkdir()
    (tmp_path / "notes").write_text("mine")
    assert folders.complete(tmp_path) == []
    assert folders.complete(tmp_path / "nowhere") == []


def attempt(devices: int = 0) -> Attempt:
    shares = tuple(DeviceShare(device=str(number), milli=1000) for number in range(devices))
    allocation = Allocation(cpu_milli=1000, memory_bytes=0, devices=shares)
    members = tuple(Member(index=index, node=NodeId(f"n{index}"), allocation=allocation) for index in range(2))
    return Attempt(
        id=AttemptId("w.0.1"), workload=WorkloadId("w"), replica=0, epoch=1, spec_revision=1, members=members
    )


def test_the_agents_configuration_says_all_that_it_needs() -> None:
    policy = CheckpointPolicy(every_s=60.0)
    spec = WorkloadSpec(name="g", kind=WorkloadKind.TRAIN, run="python t.py", ranks_per_node=4, checkpoint=policy)
    command = gang_command(
        spec,
        attempt(),
        1,
        python="/py",
        gang_dir="/gangs/w.0.1",
        checkpoint_dir="/ck",
        master_address="10.0.0.1",
        restarts_left=3,
    )
    assert command.argv[:2] == ("/py", "-I")
    assert command.argv[-1] == "{member_dir}/agent.json"
    assert json.loads(command.files["agent.json"]) == {
        "format": 1,
        "command": "python t.py",
        "nnodes": 2,
        "node_rank": 1,
        "ranks_per_node": 4,
        "rendezvous": "/gangs/w.0.1/rendezvous",
        "master_addr": "10.0.0.1",
        "max_restarts": 3,
        "grace_s": 10.0,
        "checkpoint_dir": "/ck",
        "checkpoint_every_s": 60.0,
    }


@pytest.mark.parametrize(("devices", "asked", "ranks"), [(0, None, 1), (8, None, 8), (8, 2, 2)])
def test_a_rank_for_each_device_unless_the_spec_says_otherwise(devices: int, asked: int | None, ranks: int) -> None:
    spec = WorkloadSpec(name="g", kind=WorkloadKind.TRAIN, run="x", ranks_per_node=asked)
    assert ranks_per_node(spec, attempt(devices), 0) == ranks
