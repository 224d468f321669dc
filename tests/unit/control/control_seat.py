"""A control loop with a plane on it."""

from __future__ import annotations

from pathlib import Path

from control_bench import Bench, node

from ampacity.control.figures import Figures
from ampacity.control.keys import Keys
from ampacity.control.live_plane import LivePlane, Place
from ampacity.control.measuring import Measuring
from ampacity.control.members import Members
from ampacity.control.metering import Metering
from ampacity.control.plane import Plane
from ampacity.model.ids import DEFAULT_OWNER, DEFAULT_PROJECT, Project
from ampacity.model.view import LogRecord, WorkloadView
from ampacity.model.workload import WorkloadSpec
from ampacity.observe.measured import MetricsFolder
from ampacity.secrets.keeper import open_secrets


class Seat:
    """A bench with a plane on it that steps by itself whenever it is woken."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(folder, [node("n1"), node("n2")])
        self.ends: list[bool] = []
        self.live = LivePlane(
            store=self.bench.store,
            control=self.bench.control,
            hub=self.bench.hub,
            output=self.bench.output,
            members=Members(self.bench.store, {}),
            writing=self.bench.writing,
            keys=(keys := Keys(self.bench.store, lambda: self.bench.now)),
            metering=Metering(self.bench.store, keys, folder, lambda: self.bench.now),
            secrets=open_secrets(folder, lambda: self.bench.now),
            measuring=Measuring(
                MetricsFolder(folder), self.bench.store, self.bench.control, Figures(), lambda: self.bench.now
            ),
            place=Place(state_dir=str(folder), started_at=1.0, gateway_url="http://127.0.0.1:1"),
            clock=lambda: self.bench.now,
            wake=self.bench.step,
            end=self.ends.append,
        )
        self.plane: Plane = self.live
        self.bench.step()

    def submit(self, spec: WorkloadSpec, project: str = DEFAULT_PROJECT) -> WorkloadView:
        return self.plane.submit((spec,), project=Project(project), owner=DEFAULT_OWNER)[0]

    def view(self, ref: str) -> WorkloadView:
        return self.plane.workload(ref, project=DEFAULT_PROJECT)

    def names(self, **chosen: object) -> list[str]:
        keys = {"project": None, "kinds": None, "phases": None, "limit": 100, "before": None, **chosen}
        return [view.workload.name for view in self.plane.workloads(**keys)]  # type: ignore[arg-type]

    def lines(self, ref: str, cursor: str | None = None, **keys: object) -> tuple[list[str], str, bool]:
        asked = {"rank": None, "replica": None, "limit": 1000, **keys}
        part = self.plane.logs(ref, project=DEFAULT_PROJECT, cursor=cursor, **asked)  # type: ignore[arg-type]
        return [record.text for record in part.records], part.cursor, part.ended

    def read_all(self, ref: str, limit: int) -> list[LogRecord]:
        cursor, records = None, []
        for _ in range(1000):
            part = self.plane.logs(ref, project=DEFAULT_PROJECT, cursor=cursor, rank=None, replica=None, limit=limit)
            records += part.records
            if part.ended or (not part.records and part.cursor == cursor):
                return records
            cursor = part.cursor
        raise AssertionError("the logs never come to an end")
