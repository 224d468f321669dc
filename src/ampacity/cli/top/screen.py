"""The screen of ``top``: a headline, the nodes, the devices, the jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from ampacity.cli.render.phase import phase_text
from ampacity.cli.render.queues import amounts_text
from ampacity.cli.render.units import about_bytes, about_duration, loss_text
from ampacity.model.node import NodeCondition
from ampacity.model.plan import QueueStanding

from .bars import bar, level, spark
from .gather import STEP_S, DeviceUse, JobUse, NodeUse, Scene

WIDE, WIDER = 100, 130
"""From these widths on there is room for sparklines, and for wider bars."""

SPARK_CELLS = 20
_LAST = f"LAST {SPARK_CELLS * STEP_S:.0f} s"

HOT_C, HOTTEST_C = 80.0, 88.0
WATT_HOUR_J = 3600.0


class Sort(StrEnum):
    """By which jobs are sorted; the greatest first, names in their order. The first letter is the key for it."""

    CPU = "cpu"
    MEMORY = "memory"
    DEVICES = "devices"
    ENERGY = "energy"
    NAME = "name"


_ORDERS: dict[Sort, Callable[[JobUse], Any]] = {
    Sort.CPU: lambda job: (-(job.cpu_percent or 0.0), job.name),
    Sort.MEMORY: lambda job: (-(job.memory_bytes or 0.0), job.name),
    Sort.DEVICES: lambda job: (-job.devices, -(job.device_utilisation_percent or 0.0), job.name),
    Sort.ENERGY: lambda job: (-(job.energy_j or 0.0), job.name),
    Sort.NAME: lambda job: (job.name, job.project),
}


def sorted_jobs(jobs: Sequence[JobUse], sort: Sort) -> list[JobUse]:
    """Running ones first."""
    return sorted(jobs, key=lambda job: (job.phase == "waiting", *_ORDERS[sort](job)))


@dataclass(frozen=True, slots=True)
class Screen:
    """Draws a scene as wide as the console; as high as it, too, when ``height`` is given. ``problem``: why what is
    shown is old."""

    scene: Scene
    sort: Sort = Sort.CPU
    keys: bool = False
    height: int | None = None
    problem: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, scene = options.max_width, self.scene
        parts: list[RenderableType] = [self._headline(width)]
        if self.problem:
            parts.append(Text(self.problem, style="red"))
        elif not scene.watched:
            parts.append(Text("Nothing is measured now: no collector writes in this state folder.", style="yellow"))
        parts += [Text(), _nodes_table(scene.nodes, width)]
        if scene.devices:
            parts += [Text(), _devices_table(scene.devices, width)]
        if scene.queues:
            parts += [Text(), _queues_table(scene.queues)]
        jobs = sorted_jobs(scene.jobs, self.sort)
        room = len(jobs) if self.height is None else max(1, self.height - self._used(len(parts)))
        parts.append(Text())
        if jobs:
            parts.append(_jobs_table(jobs[:room], width, self.sort))
        if len(jobs) > room:
            parts.append(Text(f"and {len(jobs) - room} more", style="bright_black"))
        elif not jobs:
            parts.append(Text("No job waits or runs.", style="bright_black"))
        if self.keys:
            parts += [Text(), _keys(self.sort)]
        yield from parts

    def _used(self, parts: int) -> int:
        """Lines that all but the jobs take."""
        scene = self.scene
        return parts + len(scene.nodes) + len(scene.devices) + len(scene.queues) + 2 + (2 if self.keys else 0) + 1

    def _headline(self, width: int) -> Text:
        scene = self.scene
        running = sum(job.phase != "waiting" for job in scene.jobs)
        text = Text("ampacity", style="bold cyan")
        text.append(f"  {time.strftime('%H:%M:%S', time.localtime(scene.at))}", style="bold")
        text.append(f"   {running} running, {len(scene.jobs) - running} waiting", style="")
        known = [*(node.power_w for node in scene.nodes), *(device.power_w for device in scene.devices)]
        watts = [power_w for power_w in known if power_w is not None]
        if watts:
            text.append(f"   {sum(watts):,.0f} W", style="yellow")
        if width >= WIDE:
            text.append(_free_text(scene.nodes))
        return text


def _free_text(nodes: Sequence[NodeUse]) -> str:
    """``12 accelerators free, 4 at most on one node``: how scattered what is free is."""
    free = [node.devices - node.devices_given for node in nodes if node.condition == NodeCondition.READY]
    if not any(node.devices for node in nodes):
        return ""
    return f"   {sum(free):g} accelerators free" + (f", {max(free):g} at most on one node" if len(free) > 1 else "")


def _queues_table(queues: Sequence[QueueStanding]) -> Table:
    columns = [_Column("QUEUE"), *(_Column(name, right=True) for name in ("SHARE", "RUNNING", "WAITING"))]
    columns += [_Column(name) for name in ("USED", "QUOTA", "BORROWED", "LENT")]
    rows: list[list[Text | str]] = [
        [
            str(each.queue.name),
            f"{100 * each.share:.0f}%",
            str(each.running),
            str(each.waiting),
            *(amounts_text(part) for part in (each.used, each.quota)),
            Text(amounts_text(each.borrowed), style="yellow"),
            Text(amounts_text(each.lent), style="cyan"),
        ]
        for each in queues
    ]
    return _fitted(columns, rows)


@dataclass(frozen=True, slots=True)
class _Column:
    heading: str
    right: bool = False


def _fitted(columns: Sequence[_Column], rows: Sequence[Sequence[Text | str]]) -> Table:
    """Only the first column becomes narrower where there is no room for all."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bright_black", show_edge=False)
    for place, column in enumerate(columns):
        widest = max(cell_len(column.heading), *(cell_len(str(row[place])) for row in rows)) if rows else 0
        table.add_column(
            column.heading,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=min(widest, 8) if place == 0 else widest,
        )
    for row in rows:
        table.add_row(*row)
    return table


def _nodes_table(nodes: Sequence[NodeUse], width: int) -> Table:
    size, wide = _bar_width(width), width >= WIDE
    columns = [_Column("NODE"), _Column("CPU"), _Column("", right=True), *([_Column(_LAST)] if wide else [])]
    columns += [_Column("MEMORY"), *(_Column(name, right=True) for name in ("", "ACCEL", "NET", "DISK"))]
    return _fitted(columns, [_node_row(node, size, wide) for node in nodes])


def _node_row(node: NodeUse, size: int, wide: bool) -> list[Text | str]:
    busy = None if node.cpu_percent is None else node.cpu_percent / 100
    full = _part(node.memory_used_bytes, node.memory_bytes)
    name = Text(node.name, style="bold")
    if node.condition not in ("ready", "machine"):
        name.append(" ").append_text(phase_text(node.condition))
    return [
        name,
        bar(busy, size, style="green"),
        _percent(busy),
        *([spark(node.cpu_history, SPARK_CELLS, top=100, style="green")] if wide else []),
        bar(full, size, style=level(full)),
        f"{_bytes(node.memory_used_bytes)}/{_bytes(node.memory_bytes)}",
        f"{node.devices_given:g}/{node.devices}" if node.devices else "",
        _rate(node.network_bytes_per_s),
        _rate(node.disk_bytes_per_s),
    ]


def _devices_table(devices: Sequence[DeviceUse], width: int) -> Table:
    size, wide = _bar_width(width), width >= WIDE
    columns = [_Column("DEVICE"), _Column("BUSY"), _Column("", right=True), *([_Column(_LAST)] if wide else [])]
    columns += [_Column("MEMORY"), *(_Column(name, right=True) for name in ("", "POWER", "TEMP")), _Column("JOB")]
    several = len({device.node for device in devices}) > 1
    return _fitted(columns, [_device_row(device, size, wide, several) for device in devices])


def _device_row(device: DeviceUse, size: int, wide: bool, several: bool) -> list[Text | str]:
    busy = None if device.utilisation_percent is None else device.utilisation_percent / 100
    full = _part(device.memory_used_bytes, device.memory_bytes)
    number = f"{device.node}/{device.index}" if several else device.index
    return [
        Text(number, style="bold").append(f" {device.kind}", style="not bold"),
        bar(busy, size, style="cyan"),
        _percent(busy),
        *([spark(device.utilisation_history, SPARK_CELLS, top=100, style="cyan")] if wide else []),
        bar(full, size, style=level(full)),
        f"{_bytes(device.memory_used_bytes)}/{_bytes(device.memory_bytes)}",
        _power(device.power_w, device.power_limit_w),
        _temperature(device.temperature_c),
        _holder(device),
    ]


def _holder(device: DeviceUse) -> Text:
    if device.workload:
        return Text(device.workload, style="bold")
    return Text("in instances" if device.partitioned else "free", style="bright_black")


def _jobs_table(jobs: Sequence[JobUse], width: int, sort: Sort) -> Table:
    """Columns for what some job has; the less told ones where there is room."""
    training, devices = any(job.step is not None for job in jobs), any(job.devices for job in jobs)
    wide = width >= (WIDER if training and devices else WIDE)
    cells: list[tuple[_Column, Callable[[JobUse], Text | str]]] = [
        (_Column(_heading("JOB", sort)), lambda job: Text(job.name, style="bold")),
        *([(_Column("KIND"), lambda job: job.kind)] if width >= WIDE else []),
        (_Column("PHASE"), lambda job: phase_text(job.phase)),
        (_Column(_heading("CPU", sort), right=True), lambda job: _whole_percent(job.cpu_percent)),
        *([(_Column(_LAST), _job_spark)] if wide else []),
        (_Column(_heading("MEM", sort), right=True), lambda job: _known_bytes(job.memory_bytes)),
    ]
    if devices:
        cells.append(
            (_Column(_heading("ACC", sort), right=True), lambda job: f"{job.devices:g}" if job.devices else "")
        )
        cells.append((_Column("BUSY", right=True), lambda job: _whole_percent(job.device_utilisation_percent)))
        if wide:
            cells.append((_Column("VRAM", right=True), lambda job: _known_bytes(job.device_memory_bytes)))
    if training:
        cells.append((_Column("STEP", right=True), lambda job: "" if job.step is None else str(job.step)))
        cells.append((_Column("/s", right=True), lambda job: _known(job.steps_per_s)))
        cells.append((_Column("LOSS", right=True), lambda job: "" if job.loss is None else loss_text(job.loss)))
    if any(job.energy_j is not None for job in jobs):
        cells.append((_Column(_heading("ENERGY", sort), right=True), lambda job: energy_text(job.energy_j)))
    if width >= WIDE or not (training and devices):
        cells.append((_Column("FOR", right=True), lambda job: about_duration(job.lasted_s)))
    return _fitted([column for column, _ in cells], [[cell(job) for _, cell in cells] for job in jobs])


_SORTED_BY: dict[str, Sort] = {
    "JOB": Sort.NAME,
    "CPU": Sort.CPU,
    "MEM": Sort.MEMORY,
    "ACC": Sort.DEVICES,
    "ENERGY": Sort.ENERGY,
}


def _heading(name: str, sort: Sort) -> str:
    return f"{name}▾" if _SORTED_BY[name] is sort else name


def _job_spark(job: JobUse) -> Text:
    top = max([100.0, *(point for point in job.cpu_history if point is not None)])
    return spark(job.cpu_history, SPARK_CELLS, top=top, style="green")


def energy_text(joules: float | None) -> str:
    """``850J``, ``1.2Wh``, ``3.4kWh``; empty when it is not known."""
    if joules is None:
        return ""
    if joules < WATT_HOUR_J:
        return f"{joules:.0f}J"
    hours = joules / WATT_HOUR_J
    return f"{hours:.3g}Wh" if hours < 1000 else f"{hours / 1000:.3g}kWh"


def _keys(sort: Sort) -> Text:
    text = Text("q", style="bold").append(" quit   sort by ", style="bright_black")
    for each in Sort:
        style = "bold cyan" if each is sort else "bright_black"
        text.append(each.value[0], style="bold").append(each.value[1:] + "  ", style=style)
    return text


def _bar_width(width: int) -> int:
    return 16 if width >= WIDER else 10 if width >= WIDE else 6


def _part(used: float | None, whole: float | None) -> float | None:
    return None if used is None or not whole else used / whole


def _percent(part: float | None) -> str:
    return "?" if part is None else f"{100 * part:.0f}%"


def _bytes(size: float | None) -> str:
    return "?" if size is None else about_bytes(int(size))


def _known(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _known_bytes(size: float | None) -> str:
    return about_bytes(int(size)) if size else ""


def _whole_percent(percent: float | None) -> str:
    return "" if percent is None else f"{percent:.0f}%"


def _rate(bytes_per_s: float | None) -> str:
    return "" if bytes_per_s is None else f"{about_bytes(int(bytes_per_s))}/s"


def _power(watts: float | None, limit_w: float | None) -> Text:
    if watts is None:
        return Text("?", style="bright_black")
    limit = f"/{limit_w:.0f}" if limit_w else ""
    return Text(f"{watts:.0f}{limit} W", style=level(_part(watts, limit_w), high=0.95, highest=1.02))


def _temperature(degrees_c: float | None) -> Text:
    if degrees_c is None:
        return Text("?", style="bright_black")
    style = "red" if degrees_c >= HOTTEST_C else "yellow" if degrees_c >= HOT_C else "green"
    return Text(f"{degrees_c:.0f}°C", style=style)
