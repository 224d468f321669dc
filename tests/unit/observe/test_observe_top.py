"""``ampacity top``: what is gathered, how it is drawn at every width, and the keys."""

from __future__ import annotations

import io
import os
import pty
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from ampacity.cli.top import live
from ampacity.cli.top.bars import bar, spark
from ampacity.cli.top.gather import DeviceUse, JobUse, NodeUse, Scene, Speeds, gather
from ampacity.cli.top.screen import Screen, Sort, energy_text, sorted_jobs
from ampacity.model.attempt import Attempt, AttemptPhase, Member, Progress
from ampacity.model.errors import NotRunning
from ampacity.model.ids import NodeId, QueueName, WorkloadId, attempt_id
from ampacity.model.node import Device, DeviceId, Node
from ampacity.model.plan import QueueStanding
from ampacity.model.policy import DEFAULT_POLICY
from ampacity.model.queue import Queue
from ampacity.model.resources import Allocation, DeviceShare
from ampacity.model.view import NodeView, QueueTreeView, WorkloadView
from ampacity.model.workload import Desired, Workload, WorkloadKind, WorkloadPhase, WorkloadSpec
from ampacity.observe.measured import Measurements, Series

IDENT = WorkloadId("w1")
ATTEMPT = attempt_id(IDENT, 0, 1)
SHARE = DeviceShare(device="n1/0", milli=1000)
NODE = Node(
    id=NodeId("n1"),
    driver="local",
    cpu_milli=8000,
    memory_bytes=64 * 10**9,
    devices=(Device(id=DeviceId("n1/0"), index=0, kind="H100", memory_bytes=80 * 10**9),),
)
SEEN = Measurements(
    at=1000.0,
    hosts=(
        Series(
            labels={"node": "n1"},
            at=1000.0,
            values={"cpu_percent": 25.0, "memory_total_bytes": 64e9, "memory_available_bytes": 48e9},
            history={"cpu_percent": (None, 10.0, 25.0)},
            rates={"network_receive_bytes": 1e6, "network_transmit_bytes": 2e6},
        ),
    ),
    devices=(
        Series(
            labels={"node": "n1", "gpu": "0", "kind": "H100", "workload": "pretrain"},
            at=1000.0,
            values={
                "utilisation_percent": 90.0,
                "memory_used_bytes": 60e9,
                "memory_free_bytes": 20e9,
                "power_w": 650.0,
            },
        ),
    ),
    members=tuple(
        Series(
            labels={"attempt": ATTEMPT, "member": str(member)},
            at=1000.0,
            values={"cpu_percent": 150.0, "memory_bytes": 2e9, "energy_j": 1800.0, "device_utilisation_percent": 90.0},
            history={"cpu_percent": (None, 150.0)},
        )
        for member in range(2)
    ),
)


class ClientDouble:
    """Answers what ``gather`` asks."""

    def __init__(self, views: list[WorkloadView], seen: Measurements) -> None:
        self.views, self.seen = views, seen

    def measurements(self, *, points: int, step_s: float) -> Measurements:
        return self.seen

    def workloads(self, *, phases: object, project: str | None) -> list[WorkloadView]:
        return [view for view in self.views if project in (None, view.workload.project)]

    def queues(self) -> QueueTreeView:
        vision = Queue(name=QueueName("vision"), quota={"H100": 4000})
        standing = QueueStanding(
            queue=vision, quota={"H100": 4000}, used={"H100": 6000}, borrowed={"H100": 2000}, share=0.75
        )
        other = QueueStanding(queue=Queue(name=QueueName("default")), waiting=3)
        return QueueTreeView(queues=(standing, other), policy=DEFAULT_POLICY)

    def nodes(self) -> tuple[NodeView, ...]:
        used = Allocation(cpu_milli=1000, memory_bytes=0, devices=(SHARE,))
        return (NodeView(node=NODE, used=used, attempts=(ATTEMPT,)),)


def training(step: int, at: float) -> WorkloadView:
    members = tuple(
        Member(index=index, node=NODE.id, allocation=Allocation(cpu_milli=1000, memory_bytes=0, devices=(SHARE,)))
        for index in range(2)
    )
    attempt = Attempt(
        id=ATTEMPT,
        workload=IDENT,
        replica=0,
        epoch=1,
        spec_revision=1,
        members=members,
        phase=AttemptPhase.RUNNING,
        started_at=900.0,
        progress=Progress(at=at, step=step, loss=2.5),
    )
    row = Workload(id=IDENT, name="pretrain", kind=WorkloadKind.TRAIN, phase=WorkloadPhase.RUNNING, created_at=890.0)
    spec = WorkloadSpec(name="pretrain", kind=WorkloadKind.TRAIN)
    return WorkloadView(workload=row, spec=spec, desired=Desired(workload=IDENT), replicas=(), attempts=(attempt,))


def scene(step: int = 10, at: float = 990.0) -> Scene:
    speeds = Speeds()
    speeds.follow(ATTEMPT, Progress(at=980.0, step=5))
    return gather(ClientDouble([training(step, at)], SEEN), speeds, project=None)  # type: ignore[arg-type]


def drawn(screen: Screen, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, markup=False, emoji=False, record=True)
    console.print(screen)
    return console.export_text()


def test_members_are_added_up_and_rows_joined() -> None:
    seen = scene()
    (job,) = seen.jobs
    assert (job.name, job.cpu_percent, job.memory_bytes, job.energy_j) == ("pretrain", 300.0, 4e9, 3600.0)
    assert job.device_utilisation_percent == 90.0
    assert job.devices == 2.0
    assert job.cpu_history == (None, 300.0)
    assert (job.step, job.loss, job.lasted_s) == (10, 2.5, 100.0)
    assert job.steps_per_s == 0.5
    (node,) = seen.nodes
    assert (node.memory_used_bytes, node.network_bytes_per_s, node.disk_bytes_per_s) == (16e9, 3e6, None)
    assert (node.devices_given, node.devices) == (1.0, 1)


def test_a_job_that_went_back_to_a_checkpoint_has_its_speed_measured_anew() -> None:
    speeds = Speeds()
    seen = [(1.0, 10), (2.0, 20), (3.0, 5), (5.0, 9)]
    rates = [speeds.follow("a", Progress(at=at, step=step)) for at, step in seen]
    assert rates == [None, 10.0, None, 2.0]
    assert speeds.follow("a", Progress(at=4.0, step=7)) == 2.0  # an older report changes nothing


@pytest.mark.parametrize("width", [60, 80, 100, 132, 200])
def test_it_fits_every_width_and_shows_what_matters(width: int) -> None:
    text = drawn(Screen(scene(), keys=True), width)
    assert max(len(line) for line in text.splitlines()) <= width
    for told in ("n1", "25%", "H100", "90%", "650 W", "pretrain"[:5], "running", "300%"):
        assert told in text, told
    if width >= 80:
        for told in ("pretrain", "0.5", "2.5", "1Wh", "q quit"):
            assert told in text, told
        assert "…" not in text


def test_queues_and_what_is_free_are_shown_where_there_are_several() -> None:
    text = drawn(Screen(scene()), 120)
    for told in ("QUEUE", "vision", "75%", "6 H100", "4 H100", "2 H100", "default", "accelerators free"):
        assert told in text, told
    assert "QUEUE" not in drawn(Screen(replace(scene(), queues=())), 120)


def test_a_laptop_without_accelerators_has_no_empty_columns() -> None:
    node = replace(scene().nodes[0], devices=0, devices_given=0.0)
    text = drawn(Screen(Scene(at=1.0, watched=True, nodes=(node,), devices=(), jobs=())), 100)
    assert "DEVICE" not in text
    assert "No job waits or runs." in text


def test_it_says_that_nobody_watches_and_that_what_is_shown_is_old() -> None:
    empty = Scene(at=1.0, watched=False, nodes=(), devices=(), jobs=())
    assert "no collector" in drawn(Screen(empty), 80)
    assert "does not answer" in drawn(Screen(empty, problem="It does not answer."), 80)


def job(name: str, **values: object) -> JobUse:
    plain = scene().jobs[0]
    return replace(plain, name=name, **values)  # type: ignore[arg-type]


def test_jobs_are_sorted_and_cut_to_the_height_of_the_screen() -> None:
    jobs = (job("b", cpu_percent=5.0, memory_bytes=1.0), job("a", cpu_percent=9.0, memory_bytes=None), job("c"))
    assert [each.name for each in sorted_jobs(jobs, Sort.CPU)] == ["c", "a", "b"]
    assert [each.name for each in sorted_jobs(jobs, Sort.MEMORY)] == ["c", "b", "a"]
    assert [each.name for each in sorted_jobs(jobs, Sort.NAME)] == ["a", "b", "c"]
    waiting = (job("x", phase="waiting"), job("y"))
    assert [each.name for each in sorted_jobs(waiting, Sort.NAME)] == ["y", "x"]
    crowd = Scene(at=1.0, watched=True, nodes=(), devices=(), jobs=tuple(job(f"j{n:03}") for n in range(200)))
    text = drawn(Screen(crowd, keys=True, height=24), 120)
    assert len(text.splitlines()) <= 24
    assert re.search(r"and 1\d\d more", text)


def test_bars_and_sparklines() -> None:
    assert bar(0.5, 4, style="").plain == "██──"
    assert bar(0.3, 4, style="").plain == "█▎──"
    assert bar(2.0, 4, style="").plain == "████"
    assert bar(None, 4, style="").plain == "────"
    assert spark((None, 0.0, 50.0, 100.0, 400.0), 6, top=100, style="").plain == "  ▁▅██"


def test_energy_in_the_unit_that_fits() -> None:
    texts = [energy_text(joules) for joules in (None, 850.0, 4320.0, 36e6)]
    assert texts == ["", "850J", "1.2Wh", "10kWh"]


def test_keys_sort_and_end_and_a_gap_of_the_control_plane_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    shown: list[str] = []

    def look() -> Scene:
        looks.append(1)
        if len(looks) == 2:
            raise NotRunning("gone")
        return scene()

    ours, theirs = pty.openpty()
    monkeypatch.setattr("sys.stdin", os.fdopen(theirs))
    monkeypatch.setattr(live, "REFRESH_S", 0.01)
    original = Screen.__rich_console__

    def watched(self: Screen, console: Console, options: object) -> object:
        shown.append(f"{self.sort} {self.problem}")
        if len(looks) >= 3 and self.sort is Sort.CPU:
            os.write(ours, b"m")
        if self.sort is Sort.MEMORY:
            os.write(ours, b"q")
        return original(self, console, options)  # type: ignore[arg-type]

    monkeypatch.setattr(Screen, "__rich_console__", watched)
    console = Console(file=io.StringIO(), width=100, height=30, force_terminal=True)
    thread = threading.Thread(target=live.watch, args=(look, Sort.CPU, console), daemon=True)
    thread.start()
    thread.join(120)
    assert not thread.is_alive()
    assert any("does not answer" in each for each in shown)
    assert any(each.startswith("memory") for each in shown)


def test_instances_are_shown_beside_the_device_that_they_are_of() -> None:
    whole = {"node": "n1", "gpu": "0", "kind": "NVIDIA H100", "partitioned": "true"}
    part = {"node": "n1", "gpu": "0", "GPU_I_ID": "9", "kind": "H100-1g.10gb", "workload": "notebook"}
    (series,) = SEEN.devices
    seen = replace(SEEN, devices=tuple(replace(series, labels=labels) for labels in (whole, part)))
    found = gather(ClientDouble([], seen), Speeds(), project=None)  # type: ignore[arg-type]
    assert [(use.index, use.partitioned) for use in found.devices] == [("0", True), ("0:9", False)]
    lines = drawn(Screen(found), 120).splitlines()
    gpu, instance = (line for line in lines if "NVIDIA H100" in line or "H100-1g.10gb" in line)
    assert ("in instances" in gpu, "free" in gpu) == (True, False)
    assert instance.strip().startswith("0:9 H100-1g.10gb")
    assert "notebook" in instance


def test_uses_are_plain_values(tmp_path: Path) -> None:
    """So that --json says them under their names."""
    from ampacity.cli.answer import plain

    told = plain(scene())
    assert told["jobs"][0]["name"] == "pretrain"
    assert set(told["devices"][0]) == set(DeviceUse.__dataclass_fields__)
    assert set(told["nodes"][0]) == set(NodeUse.__dataclass_fields__)
