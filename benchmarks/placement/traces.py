"""The experiment of Weng et al., ATC'23: its cluster, its pods, the order in which they arrive, and its results."""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ampacity.model.ids import DeviceId, NodeId
from ampacity.model.node import Device, Node
from ampacity.model.resources import WHOLE_MILLI
from ampacity.scheduler.fleet import Fleet
from ampacity.scheduler.placing import Ask, Mix

MIB = 2**20
LOADS = 131
NOWHERE = 2**15 - 1
"""The code of a kind that no node has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Base pods in the order of their names, and the mix that they are: its groups in the artifact's order."""

    name: str
    pods: tuple[Ask, ...]
    mix: Mix
    arrivals: dict[int, NDArray[np.int64]]
    node_ranks: dict[int, NDArray[np.int64]]


def names(folder: Path) -> list[str]:
    """The traces that the folder has."""
    return sorted(path.name[len("arrivals_") : -len(".npz")] for path in folder.glob("arrivals_*.npz"))


def rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.DictReader(file))


def fleet(folder: Path, ranks: NDArray[np.int64]) -> Fleet:
    """The cluster. Nodes are named so that the order of their ids is that of the ranks."""
    made = Fleet()
    listed = sorted(rows(folder / "openb_node_list_gpu_node.csv.gz"), key=lambda row: row["sn"])
    made.reserve(len(listed), max(int(row["gpu"]) for row in listed))
    for row, rank in zip(listed, ranks, strict=True):
        id = f"{rank:05d}"
        devices = tuple(
            Device(id=DeviceId(f"{id}/{index}"), index=index, kind=row["model"], memory_bytes=0)
            for index in range(int(row["gpu"]))
        )
        memory = int(row["memory_mib"]) * MIB
        cpu = int(row["cpu_milli"])
        made.put_node(Node(id=NodeId(id), driver="trace", cpu_milli=cpu, memory_bytes=memory, devices=devices))
    return made


def load(folder: Path, name: str) -> Trace:
    kinds = {kind: code for code, kind in enumerate(fleet(folder, np.arange(_nodes(folder))).kinds)}
    listed = sorted(rows(folder / f"openb_pod_list_{name}.csv.gz"), key=lambda row: row["name"])
    asks = [_ask(row, kinds) for row in listed]
    arrivals = np.load(folder / f"arrivals_{name}.npz")
    seeds = sorted(int(key.removeprefix("arrivals_")) for key in arrivals.files if key.startswith("arrivals_"))
    return Trace(
        name=name,
        pods=tuple(ask for ask, _ in asks),
        mix=_mix(asks),
        arrivals={seed: arrivals[f"arrivals_{seed}"] for seed in seeds},
        node_ranks={seed: arrivals[f"node_rank_{seed}"] for seed in seeds},
    )


def _nodes(folder: Path) -> int:
    return len(rows(folder / "openb_node_list_gpu_node.csv.gz"))


def _ask(row: dict[str, str], kinds: dict[str, int]) -> tuple[Ask, str]:
    """A pod as an ask, and its list of models as it stands in the trace."""
    count = int(row["num_gpu"])
    spec = (row.get("gpu_spec") or "") if count else ""
    return Ask(
        cpu_milli=int(row["cpu_milli"]),
        memory_bytes=int(row["memory_mib"]) * MIB,
        count=count,
        device_milli=min(int(row["gpu_milli"]), WHOLE_MILLI) if count else WHOLE_MILLI,
        kinds=tuple(sorted({kinds.get(kind, NOWHERE) for kind in spec.split("|")})) if spec else (),
    ), spec


def _mix(asks: list[tuple[Ask, str]]) -> Mix:
    """Groups that differ in CPU, devices, share or the text of the models; their memory is the mean."""
    groups: dict[tuple[int, int, int, str], list[Ask]] = {}
    for ask, spec in asks:
        groups.setdefault((ask.cpu_milli, ask.device_milli, ask.count, spec), []).append(ask)
    ordered = sorted(groups.items(), key=lambda group: group[0][3], reverse=True)
    return [
        (replace(alike[0], memory_bytes=sum(ask.memory_bytes for ask in alike) // len(alike)), len(alike))
        for _, alike in ordered
    ]


def published(folder: Path) -> dict[tuple[str, str, int], NDArray[np.float64]]:
    """[131] GPU allocation in percent by arrived load, of every run: by trace, policy as published, and seed. Nothing
    where the folder has no published results."""
    file = folder / "published_allo_by_load.csv.gz"
    if not file.exists():
        return {}
    return {
        (row["workload"].removeprefix("openb_pod_list_"), row["sc_policy"][3:], int(row["seed"])): np.array(
            [float(row[str(load)]) for load in range(LOADS)]
        )
        for row in rows(file)
    }
