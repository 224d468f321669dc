"""What ``top`` shows, gathered by a few calls of the API: nodes, devices and jobs, each with what it uses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ampacity.model.attempt import Attempt, Progress
from ampacity.model.plan import QueueStanding
from ampacity.model.resources import WHOLE_MILLI
from ampacity.model.view import NodeView, ProgressPoint, WorkloadView
from ampacity.model.workload import WorkloadPhase
from ampacity.observe.measured import Measurements, Series

if TYPE_CHECKING:
    from ampacity.client import Client

LIVE = (WorkloadPhase.WAITING, WorkloadPhase.RUNNING, WorkloadPhase.STOPPING)
POINTS, STEP_S = 20, 2.0
MOST_JOBS = 500
SPEED_OVER_S = 60.0
"""Steps a second are a mean over at most so long."""

History = tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeUse:
    """``name``: of the machine, or of a node that nothing was measured on. Numbers are ``None`` where not known."""

    name: str
    condition: str
    cpus: float
    cpu_percent: float | None
    cpu_history: History
    memory_used_bytes: float | None
    memory_bytes: float
    devices_given: float
    devices: int
    network_bytes_per_s: float | None
    disk_bytes_per_s: float | None
    power_w: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUse:
    """``partitioned``: its instances are given out in its stead."""

    node: str
    index: str
    kind: str
    utilisation_percent: float | None
    utilisation_history: History
    memory_used_bytes: float | None
    memory_bytes: float | None
    power_w: float | None
    power_limit_w: float | None
    temperature_c: float | None
    energy_j: float | None
    workload: str
    partitioned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class JobUse:
    """``cpu_percent``: of one CPU. ``energy_j``: of its live attempts, as far as it is known."""

    name: str
    kind: str
    phase: str
    project: str
    owner: str
    cpu_percent: float | None
    cpu_history: History
    memory_bytes: float | None
    devices: float
    device_utilisation_percent: float | None
    device_memory_bytes: float | None
    energy_j: float | None
    power_w: float | None
    step: int | None
    steps_per_s: float | None
    loss: float | None
    lasted_s: float
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All of one look. ``watched``: a collector is at work. ``queues``: where there are several, how each stands."""

    at: float
    watched: bool
    nodes: tuple[NodeUse, ...]
    devices: tuple[DeviceUse, ...]
    jobs: tuple[JobUse, ...]
    queues: tuple[QueueStanding, ...] = ()


class Speeds:
    """Steps a second, from the progress seen at each look."""

    def __init__(self) -> None:
        self._seen: dict[str, list[tuple[float, int]]] = defaultdict(list)

    def follow(self, attempt: str, progress: Progress) -> float | None:
        seen = self._seen[attempt]
        if seen and progress.at <= seen[-1][0]:
            return _speed(seen)
        if seen and progress.step < seen[-1][1]:
            seen.clear()  # it went back to a checkpoint
        if not seen or progress.step > seen[-1][1]:
            seen.append((progress.at, progress.step))
        while len(seen) > 2 and seen[-1][0] - seen[0][0] > SPEED_OVER_S:
            seen.pop(0)
        return _speed(seen)

    def begin(self, attempt: str, points: Sequence[ProgressPoint]) -> None:
        """From what it reported before the first look."""
        self._seen[attempt] = [(point.at, point.step) for point in points if not point.checkpoint][-20:]


def gather(client: Client, speeds: Speeds, *, project: str | None, past: bool = False) -> Scene:
    """One look. ``project`` ``None``: of all. ``past``: read what training jobs reported before, for their speed."""
    seen = client.measurements(points=POINTS, step_s=STEP_S)
    queues = client.queues().queues
    views = []
    for view in client.workloads(phases=LIVE, project=project):
        views.append(view)
        if len(views) == MOST_JOBS:
            break
    if past:
        for view in views:
            for attempt in _live(view):
                if attempt.progress is not None:
                    points = client.progress(view.workload.id, project=view.workload.project)
                    speeds.begin(attempt.id, [point for point in points if point.epoch == attempt.epoch])
    return Scene(
        at=seen.at,
        watched=bool(seen.hosts),
        nodes=_nodes(client.nodes(), seen),
        devices=tuple(_device(series) for series in seen.devices),
        jobs=_jobs(views, seen, speeds),
        queues=queues if len(queues) > 1 else (),
    )


def _nodes(views: Sequence[NodeView], seen: Measurements) -> tuple[NodeUse, ...]:
    """Each node with what was measured on it; the machine beneath several declared nodes stands by itself."""
    hosts = {series.labels["node"]: series for series in seen.hosts}
    known = [_node(view, hosts.pop(str(view.node.id), None)) for view in views]
    return (*(_machine(name, series) for name, series in hosts.items()), *known)


def _node(view: NodeView, host: Series | None) -> NodeUse:
    node = view.node
    return NodeUse(
        name=str(node.id),
        condition=str(node.condition),
        cpus=node.cpu_milli / WHOLE_MILLI,
        memory_bytes=node.memory_bytes,
        devices_given=sum(share.milli for share in view.used.devices) / WHOLE_MILLI,
        devices=len(node.devices),
        **_measured(host),  # type: ignore[arg-type]
    )


def _machine(name: str, host: Series) -> NodeUse:
    return NodeUse(
        name=name,
        condition="machine",
        cpus=host.value("cpus") or 0.0,
        memory_bytes=host.value("memory_total_bytes") or 0.0,
        devices_given=0.0,
        devices=0,
        **_measured(host),  # type: ignore[arg-type]
    )


def _measured(host: Series | None) -> Mapping[str, float | History | None]:
    values: Mapping[str, float] = {} if host is None else host.values
    rates: Mapping[str, float] = {} if host is None else host.rates
    total, free = values.get("memory_total_bytes"), values.get("memory_available_bytes")
    return {
        "cpu_percent": values.get("cpu_percent"),
        "cpu_history": () if host is None else host.history.get("cpu_percent", ()),
        "memory_used_bytes": None if total is None or free is None else total - free,
        "network_bytes_per_s": _sum(rates.get("network_receive_bytes"), rates.get("network_transmit_bytes")),
        "disk_bytes_per_s": _sum(rates.get("disk_read_bytes"), rates.get("disk_write_bytes")),
        "power_w": values.get("power_w"),
    }


def _device(series: Series) -> DeviceUse:
    values, labels = series.values, series.labels
    return DeviceUse(
        node=labels.get("node", ""),
        index=":".join(labels[name] for name in ("gpu", "GPU_I_ID") if name in labels),
        kind=labels.get("kind", ""),
        utilisation_percent=values.get("utilisation_percent"),
        utilisation_history=series.history.get("utilisation_percent", ()),
        memory_used_bytes=values.get("memory_used_bytes"),
        memory_bytes=_sum(values.get("memory_used_bytes"), values.get("memory_free_bytes")),
        power_w=values.get("power_w"),
        power_limit_w=values.get("power_limit_w"),
        temperature_c=values.get("temperature_c"),
        energy_j=values.get("energy_j"),
        workload=labels.get("workload", ""),
        partitioned="partitioned" in labels,
    )


def _jobs(views: Sequence[WorkloadView], seen: Measurements, speeds: Speeds) -> tuple[JobUse, ...]:
    members: dict[str, list[Series]] = defaultdict(list)
    for series in seen.members:
        members[series.labels["attempt"]].append(series)
    return tuple(_job(view, members, seen.at, speeds) for view in views)


def _job(view: WorkloadView, members: Mapping[str, list[Series]], now: float, speeds: Speeds) -> JobUse:
    workload, attempts = view.workload, _live(view)
    series = [each for attempt in attempts for each in members.get(attempt.id, [])]
    busy = [each.values["device_utilisation_percent"] for each in series if "device_utilisation_percent" in each.values]
    progress = next((attempt.progress for attempt in attempts if attempt.progress is not None), None)
    speed = next((speeds.follow(each.id, each.progress) for each in attempts if each.progress is not None), None)
    began = min((each.started_at for each in attempts if each.started_at is not None), default=workload.created_at)
    shares = (share for attempt in attempts for member in attempt.members for share in member.allocation.devices)
    return JobUse(
        name=workload.name,
        kind=str(workload.kind),
        phase=str(workload.phase),
        project=str(workload.project),
        owner=str(workload.owner),
        cpu_percent=_sum(*(each.value("cpu_percent") for each in series)),
        cpu_history=_added([each.history.get("cpu_percent", ()) for each in series]),
        memory_bytes=_sum(*(each.value("memory_bytes") for each in series)),
        devices=sum(share.milli for share in shares) / WHOLE_MILLI,
        device_utilisation_percent=sum(busy) / len(busy) if busy else None,
        device_memory_bytes=_sum(*(each.value("device_memory_bytes") for each in series)),
        energy_j=_sum(*(each.value("energy_j") for each in series)),
        power_w=_sum(*(each.value("device_power_w") for each in series)),
        step=None if progress is None else progress.step,
        steps_per_s=speed,
        loss=None if progress is None else progress.loss,
        lasted_s=max(0.0, now - began),
        note=view.waits[0].text if view.waits else "",
    )


def _live(view: WorkloadView) -> tuple[Attempt, ...]:
    return tuple(attempt for attempt in view.attempts if not attempt.phase.ended)


def _speed(seen: Sequence[tuple[float, int]]) -> float | None:
    if len(seen) < 2 or seen[-1][0] <= seen[0][0]:
        return None
    return (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0])


def _sum(*values: float | None) -> float | None:
    """Of those that are known; ``None`` when none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _added(histories: Sequence[History]) -> History:
    return tuple(_sum(*points) for points in zip(*histories, strict=True)) if histories else ()
