"""The soak in short: one life on a real platform; and that its oracle sees what it is there for."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "soak"))
from soak_jobs import Job
from soak_machine import ACTS
from soak_oracle import Deeds, Start, judge

from ampacity.model.workload import WorkloadPhase
from whole_platform import Platform, eventually

SETTLE_S = 120.0
AROUND_S = 120.0
"""For all that the soak does before and after it settles."""

RUN = Path(__file__).parents[1] / "soak" / "run.py"
LIFE = RUN.with_name("short.json")
OK = Job(name="a", shape="task", end=WorkloadPhase.SUCCEEDED, tries=1, retries=1, starts=1)
FLAKY = Job(name="b", shape="task", end=WorkloadPhase.SUCCEEDED, tries=2, retries=1, starts=1)
LASTING = Job(name="c", shape="task", end=None, tries=1, retries=0, starts=1)
GANG = Job(name="d", shape="gang", end=WorkloadPhase.SUCCEEDED, tries=1, retries=0, starts=2)


def starts(*epochs: int, members: int = 1) -> list[Start]:
    return [
        Start(epoch=epoch, member=f"w.0.{epoch}-{member}", incarnation=0, rank=0)
        for epoch in epochs
        for member in range(members)
    ]


def wrong(
    job: Job,
    phase: str,
    notes: list[Start],
    *,
    kills: int = 0,
    stopped: bool = False,
    before: WorkloadPhase | None = None,
) -> list[str]:
    done = Deeds(stopped=stopped, kills=kills)
    return list(judge(job, done, WorkloadPhase(phase), notes, before))


def test_what_may_be_is_allowed() -> None:
    assert not wrong(OK, "succeeded", starts(1))
    assert not wrong(OK, "succeeded", starts(1, 2), kills=1)
    assert not wrong(OK, "succeeded", starts(2), kills=1)
    assert not wrong(OK, "failed", starts(1, 2), kills=2)
    assert not wrong(OK, "cancelled", [], stopped=True)
    assert not wrong(OK, "cancelled", [], before=WorkloadPhase.FAILED)
    assert not wrong(FLAKY, "succeeded", starts(1, 2))
    assert not wrong(LASTING, "cancelled", starts(1), stopped=True)
    assert not wrong(GANG, "succeeded", starts(1, members=2))


@pytest.mark.parametrize(
    ("job", "phase", "notes", "more", "told"),
    [
        (OK, "failed", starts(1), {}, "allowed: succeeded"),
        (OK, "failed", starts(1, 2), {"kills": 1}, "allowed: succeeded"),
        (OK, "running", starts(1), {}, "is running"),
        (OK, "succeeded", starts(1, 1), {"kills": 1}, "2 times"),
        (OK, "succeeded", starts(1, 2), {}, "tried 2 times; 1 at most"),
        (OK, "succeeded", [], {"kills": 1}, "no attempt of it began"),
        (OK, "cancelled", starts(1), {"before": WorkloadPhase.FAILED}, "which it comes after"),
        (OK, "succeeded", starts(1), {"before": WorkloadPhase.CANCELLED}, "allowed: cancelled"),
        (FLAKY, "succeeded", starts(2), {}, "began 1 times in place of 2"),
        (FLAKY, "succeeded", starts(1, 2, 3), {"kills": 1}, "2 at most"),
        (LASTING, "succeeded", starts(1), {"stopped": True}, "allowed: cancelled"),
        (GANG, "succeeded", starts(1, members=1), {}, "all 2 processes"),
    ],
)
def test_what_cannot_be_is_told(job: Job, phase: str, notes: list[Start], more: dict, told: str) -> None:
    found = wrong(job, phase, notes, **more)
    assert any(told in words for words in found), found


def test_a_life_with_all_faults_breaks_nothing() -> None:
    assert {name for name, _ in json.loads(LIFE.read_text())} == set(ACTS)
    command = [sys.executable, str(RUN), "--replay", str(LIFE), "--settle-s", str(SETTLE_S)]
    soak = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said, _ = soak.communicate(timeout=SETTLE_S + AROUND_S)
    except subprocess.TimeoutExpired:
        soak.terminate()  # it takes its platform down before it ends; killed, it would leave all of it behind
        said, _ = soak.communicate(timeout=AROUND_S)
    assert soak.returncode == 0, said
    assert "nothing was lost, doubled, orphaned or overcommitted" in said


def test_a_soak_that_is_told_to_end_leaves_no_process_behind() -> None:
    soak = subprocess.Popen([sys.executable, str(RUN), "--minutes", "5"], stdout=subprocess.PIPE, text=True)
    assert soak.stdout is not None
    folder = soak.stdout.readline().partition(", in ")[2].partition(";")[0]
    life = Path(folder, "life-001")
    try:
        eventually(lambda: (life / "state" / "control.json").exists(), "the platform's start", limit_s=120.0)
    finally:
        soak.terminate()
        soak.communicate(timeout=AROUND_S)
    assert soak.returncode == 1
    assert not Platform(life / "state", life / "work").processes()
    shutil.rmtree(folder)
