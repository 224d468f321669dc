"""What was measured, with the labels that rows give it: whose attempt it is, on which node, of which kind."""

from __future__ import annotations

import socket
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ampacity import __version__
from ampacity.model.attempt import Attempt
from ampacity.model.ids import WorkloadId
from ampacity.model.node import Device, Node
from ampacity.model.resources import WHOLE_MILLI
from ampacity.model.workload import Workload, WorkloadPhase
from ampacity.observe.discovery.pci import address_of
from ampacity.observe.exposition import Family, Kind, exposition
from ampacity.observe.families import measured_families
from ampacity.observe.measured import Measurements, MetricsFolder, Series
from ampacity.store.feed import FeedStore

from .figures import Figures
from .step import Control

LOCAL_DRIVER: Final = "local"
"""The driver whose members the collector of this state folder watches."""


class Measuring:
    """Reads the collector's files and joins them with the rows. Safe to call from any thread."""

    def __init__(
        self, folder: MetricsFolder, store: FeedStore, control: Control, figures: Figures, clock: Callable[[], float]
    ) -> None:
        self._folder, self._store, self._control = folder, store, control
        self._figures, self._clock = figures, clock
        self.more: list[Callable[[], Sequence[Family]]] = []
        """What else is told among the metrics."""

    def measurements(self, *, history_points: int = 0, step_s: float = 1.0) -> Measurements:
        seen = self._folder.read(self._clock(), history_points=history_points, step_s=step_s)
        names = _Names(self._control, self._store)
        return replace(
            seen,
            hosts=tuple(names.host(series) for series in seen.hosts),
            devices=tuple(names.device(series) for series in seen.devices),
            members=tuple(names.member(series) for series in seen.members),
            ranks=tuple(names.member(series) for series in seen.ranks),
        )

    def families(self) -> list[Family]:
        """All metrics of the platform."""
        build = Family("ampacity_build_info", Kind.GAUGE, "The control plane's release.")
        build.add(1, {"version": __version__})
        live = self._store.live_workloads()
        rows = [*_node_families(self._control.nodes, self._attempts()), *_workload_families(live, self._clock())]
        more = [family for families in self.more for family in families()]
        return [build, *rows, *self._figures.families(), *more, *measured_families(self.measurements())]

    def metrics(self, *, openmetrics: bool) -> bytes:
        return exposition(self.families(), openmetrics=openmetrics)

    def _attempts(self) -> list[Attempt]:
        return [attempt for attempt in tuple(self._control.mirror.rows.attempts.values()) if not attempt.phase.ended]


class _Names:
    """Finds the row behind a series."""

    def __init__(self, control: Control, store: FeedStore) -> None:
        self._attempts: Mapping[str, Attempt] = {
            attempt.id: attempt for attempt in tuple(control.mirror.rows.attempts.values())
        }
        self._workloads: Mapping[WorkloadId, Workload] = {row.id: row for row in store.live_workloads()}
        self._local = [node for node in control.nodes if node.driver == LOCAL_DRIVER]
        self._machine = str(self._local[0].id) if len(self._local) == 1 else socket.gethostname()
        self._holders: dict[str, list[Attempt]] = defaultdict(list)
        for attempt in self._attempts.values():
            if not attempt.phase.ended:
                for member in attempt.members:
                    for share in member.allocation.devices:
                        self._holders[share.device].append(attempt)

    def host(self, series: Series) -> Series:
        return replace(series, labels={"node": self._machine})

    def device(self, series: Series) -> Series:
        """With the labels that DCGM's exporter gives, so that its dashboards work, and ours."""
        labels = series.labels
        node, device = self._device_row(labels)
        index = labels["index"]
        holders = self._holders.get(str(device.id), []) if device is not None else []
        held = self._whose(holders[0]) if len(holders) == 1 else {}
        return replace(
            series,
            labels={
                "gpu": index,
                "UUID": labels.get("gpu_uuid") or labels["uuid"],
                "pci_bus_id": labels["bus"],
                "device": f"{labels['vendor']}{index}",
                "modelName": labels["kind"],
                **_instance_labels(labels),
                "Hostname": socket.gethostname(),
                "node": node,
                **held,
                "kind": labels["kind"] if device is None else device.kind,
            },
        )

    def member(self, series: Series) -> Series:
        labels = series.labels
        attempt = self._attempts.get(labels["attempt"])
        index = int(labels["member"])
        known = {"workload": labels["name"], "project": labels["project"], "attempt": labels["attempt"]}
        node = self._machine
        if attempt is not None:
            known |= self._whose(attempt)
            node = str(attempt.members[index].node) if index < len(attempt.members) else node
        rank = {"rank": labels["rank"]} if "rank" in labels else {}
        return replace(series, labels={"node": node, **known, "member": labels["member"], **rank})

    def _whose(self, attempt: Attempt) -> dict[str, str]:
        workload = self._workloads.get(attempt.workload)
        named = {} if workload is None else {"workload": workload.name, "kind": str(workload.kind)}
        return {**named, "project": attempt.project, "owner": attempt.owner, "attempt": attempt.id}

    def _device_row(self, labels: Mapping[str, str]) -> tuple[str, Device | None]:
        """The node and device that are meant. Of several declared nodes on one machine none can be told by a number."""
        found = [
            (str(node.id), device) for node in self._local for device in node.devices if _is_device(device, labels)
        ]
        return found[0] if len(found) == 1 else (self._machine, None)


def _instance_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    """What tells an instance from its device, whose other labels it has: DCGM's, and its own name, since there may be
    several in one GPU instance."""
    if "instance" not in labels:
        return {"partitioned": "true"} if "partitioned" in labels else {}
    gpu_instance = labels["instance"].partition("/")[0]
    return {"GPU_I_PROFILE": labels["profile"], "GPU_I_ID": gpu_instance, "MIG_UUID": labels["uuid"]}


def _is_device(device: Device, labels: Mapping[str, str]) -> bool:
    """By its name for good, else by its place, else by its number: that changes when another one is lost."""
    if device.uuid:
        return (device.uuid, device.profile) == (labels["uuid"], labels.get("profile", ""))
    if device.bus and labels["bus"]:
        return device.bus == address_of(labels["bus"])
    return device.index == int(labels["index"])


def _node_families(nodes: tuple[Node, ...], attempts: list[Attempt]) -> list[Family]:
    conditions = Family("ampacity_nodes", Kind.GAUGE, "Nodes by their condition.")
    for condition, count in sorted(Counter(str(node.condition) for node in nodes).items()):
        conditions.add(count, {"condition": condition})
    names = ("cpus", "cpus_given", "memory_bytes", "memory_given_bytes", "devices", "devices_given")
    families = {name: Family(f"ampacity_node_{name}", Kind.GAUGE, _NODE_HELP[name]) for name in names}
    given: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for attempt in attempts:
        for member in attempt.members:
            part = given[member.node]
            part[0] += member.allocation.cpu_milli / WHOLE_MILLI
            part[1] += member.allocation.memory_bytes
            part[2] += sum(share.milli for share in member.allocation.devices) / WHOLE_MILLI
    for node in nodes:
        labels, part = {"node": str(node.id)}, given[node.id]
        whole = (node.cpu_milli / WHOLE_MILLI, float(node.memory_bytes), float(len(node.devices)))
        values = (whole[0], part[0], whole[1], part[1], whole[2], part[2])
        for name, value in zip(names, values, strict=True):
            families[name].add(value, labels)
    return [conditions, *families.values()]


_NODE_HELP: Final = {
    "cpus": "CPUs of the node.",
    "cpus_given": "CPUs that attempts hold.",
    "memory_bytes": "Memory of the node.",
    "memory_given_bytes": "Memory that attempts hold.",
    "devices": "Accelerators of the node.",
    "devices_given": "Accelerators that attempts hold; shares count in part.",
}


def _workload_families(live: tuple[Workload, ...], now: float) -> list[Family]:
    phases = Family("ampacity_workloads", Kind.GAUGE, "Workloads that have not ended.")
    counts = Counter((str(row.phase), str(row.kind), str(row.project)) for row in live)
    for (phase, kind, project), count in sorted(counts.items()):
        phases.add(count, {"phase": phase, "kind": kind, "project": project})
    oldest = Family("ampacity_oldest_waiting_seconds", Kind.GAUGE, "How long the one has waited that waits longest.")
    waiting = [row.created_at for row in live if row.phase is WorkloadPhase.WAITING]
    oldest.add(now - min(waiting) if waiting else 0.0, {})
    return [phases, oldest]
