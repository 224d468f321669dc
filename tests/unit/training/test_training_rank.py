"""The rank's side: reports, checkpoint folders, and what is never restored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
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
    monkeypatch.setattr(progress, "_told", False)
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


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_no_number_any_more_leaves_lines_that_are_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: float
) -> None:
    monkeypatch.setenv("AMPACITY_MEMBER_DIR", str(tmp_path))
    report(step=1, loss=loss, tokens=5, lr=loss)
    (line,) = (tmp_path / "progress" / "rank-0.jsonl").read_text().splitlines()
    read = msgspec.json.decode(line)
    assert (read["step"], read["tokens"]) == (1, 5)
    assert "loss" not in read
    assert "lr" not in read


def test_numbers_of_numpy_and_of_torch_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is missing: pip install 'ampacity[train]'")
    monkeypatch.setenv("AMPACITY_MEMBER_DIR", str(tmp_path))
    report(step=numpy.int64(3), loss=numpy.float32(0.5), tokens=numpy.int64(7), lr=numpy.float64(0.25))
    read = json.loads((tmp_path / "progress" / "rank-0.jsonl").read_text())
    assert (read["step"], read["loss"], read["tokens"], read["lr"]) == (3, 0.5, 7, 0.25)


def test_a_line_that_a_kill_tore_does_not_spoil_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMPACITY_MEMBER_DIR", str(tmp_path))
    (tmp_path / "progress").mkdir()
    (tmp_path / "progress" / "rank-0.jsonl").write_text('{"at": 1.0, "st')
    report(step=2)
    assert json.loads((tmp_path / "progress" / "rank-0.jsonl").read_text().splitlines()[1])["step"] == 2


def test_reports_that_cannot_be_written_do_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AMPACITY_MEMBER_DIR", str(tmp_path))
    (tmp_path / "progress").write_text("a file where the folder should be")
    report(step=1)
    report(step=2)
    assert capsys.readouterr().err == "ampacity: progress is not reported: File exists\n"


def written(root: Path, step: int) -> Path:
    folder = folders.begin(root, step)
    (folder / "__0_0.distcp").write_text(f"weights of {step}")
    (folder / ".metadata").write_text("names")
    return folder


def saved(root: Path, step: int) -> Path:
    folder = written(root, step)
    return folders.seal(root, step, folders.sums_of(folder, 0, 1))


def test_a_checkpoint_counts_once_it_is_sealed(tmp_path: Path) -> None:
    folder = written(tmp_path, 10)
    assert folders.complete(tmp_path) == []
    folders.seal(tmp_path, 10, folders.sums_of(folder, 0, 1))
    saved(tmp_path, 20)
    written(tmp_path, 30)
    assert folders.complete(tmp_path) == [20, 10]
    assert folders.damage(folders.folder_of(tmp_path, 10), 0, 1) == ""


def test_what_interrupted_saves_left_goes_with_the_next_save(tmp_path: Path) -> None:
    written(tmp_path, 10)
    written(tmp_path, 12)
    assert [path.name for path in tmp_path.iterdir()] == ["saving-00000012"]
    assert list(folders.begin(tmp_path, 12).iterdir()) == []


def test_a_step_that_is_saved_again_counts_until_the_new_one_is_whole(tmp_path: Path) -> None:
    saved(tmp_path, 10)
    again = written(tmp_path, 10)
    assert folders.complete(tmp_path) == [10]
    (again / "__0_0.distcp").write_text("other weights")
    found = folders.seal(tmp_path, 10, folders.sums_of(again, 0, 1))
    assert (found / "__0_0.distcp").read_text() == "other weights"
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000010"]


@pytest.mark.parametrize("moved_aside", [False, True])
def test_a_kill_between_the_marker_and_the_name_loses_nothing(tmp_path: Path, moved_aside: bool) -> None:
    old = saved(tmp_path, 10)
    shutil.copytree(old, tmp_path / "saving-00000010")
    if moved_aside:
        old.rename(tmp_path / "replaced-00000010")
    folders.settle(tmp_path)
    assert folders.complete(tmp_path) == [10]
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000010"]


def test_any_damage_is_found_and_named(tmp_path: Path) -> None:
    folder = saved(tmp_path, 10)
    shard, text = folder / "__0_0.distcp", "weights of 10"
    for content, reason in (
        ("weights of 11", "the content of its file __0_0.distcp has changed since it was written"),
        ("weights", "its file __0_0.distcp has 7 bytes instead of 13"),
        (None, "its file __0_0.distcp is gone"),
    ):
        shard.unlink() if content is None else shard.write_text(content)
        assert folders.damage(folder, 0, 1) == reason
    shard.write_text(text)
    assert folders.damage(folder, 0, 1) == ""
    for marker in ("", "{}", '{"files": {"x": 1}}'):
        (folder / "complete").write_text(marker)
        assert folders.damage(folder, 0, 1) == "its file 'complete' makes no sense"


def test_ranks_share_the_work_and_leave_no_file_out(tmp_path: Path) -> None:
    folder = folders.begin(tmp_path, 1)
    names = ["__0_0.distcp", "__1_0.distcp", "__1_1.distcp", "__2_0.distcp", ".metadata"]
    for name in names:
        (folder / name).write_text(name)
    parts = [folders.sums_of(folder, rank, 3) for rank in range(3)]
    assert [len(part) for part in parts] == [2, 2, 1]
    sealed = folders.seal(tmp_path, 1, folders.merged(parts))
    for name in names:
        (sealed / name).write_text("x" + name[1:])
        assert sum(bool(folders.damage(sealed, rank, 2)) for rank in range(2)) == 1, name
        (sealed / name).write_text(name)


def test_pruning_keeps_the_newest_complete_ones(tmp_path: Path) -> None:
    for step in (10, 20, 30, 40):
        saved(tmp_path, step)
    folders.prune(tmp_path, keep=2, newest=40)
    assert folders.complete(tmp_path) == [40, 30]
    folders.prune(tmp_path, keep=1, newest=40)
    assert folders.complete(tmp_path) == [40]


def test_after_a_step_back_the_new_checkpoint_is_not_the_one_that_goes(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        saved(tmp_path, step)
    saved(tmp_path, 15)
    folders.prune(tmp_path, keep=1, newest=15)
    assert folders.complete(tmp_path) == [30, 20, 15]


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
