"""Models of the hub: added with what they came from, and kept while they are served."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from ampacity.hub import Hub
from ampacity.hub.code_revision import code_revision
from ampacity.hub.version import Lineage, ModelVersion
from ampacity.model.errors import Conflict, InvalidSpec, Where
from ampacity.model.ids import Project

from .reading import Reading


class Hosting:
    """The hub beside the workloads that make models and serve them."""

    def __init__(self, hub: Hub, reading: Reading, clock: Callable[[], float]) -> None:
        self._hub, self._reading, self._clock = hub, reading, clock

    def add(
        self,
        *,
        name: str,
        path: str,
        tags: Collection[str],
        run: str | None,
        step: int | None,
        data: Collection[str],
        project: Project,
    ) -> ModelVersion:
        """See ``Plane.add_model``."""
        if not Path(path).is_absolute():
            raise InvalidSpec(f"{path!r} is not an absolute path.", where=Where(key="path"))
        lineage = self._lineage(run, step, tuple(data), project)
        return self._hub.add(name, Path(path), tags=tuple(tags), lineage=lineage, created_at=self._clock())

    def _lineage(self, run: str | None, step: int | None, data: tuple[str, ...], project: Project) -> Lineage:
        """Where a model of that run came from, as far as the platform saw it."""
        if run is None:
            return Lineage(step=step, data=data, project=project)
        view = self._reading.workload(run, project=project)
        progress = view.attempts[-1].progress if view.attempts else None
        return Lineage(
            run=view.workload.id,
            run_name=view.workload.name,
            project=view.workload.project,
            step=step if step is not None or progress is None else progress.checkpoint_step,
            code_revision=code_revision(view.spec.workdir) if view.spec.workdir else "",
            data=data,
            checkpoint=progress.checkpoint_path if progress is not None else "",
            inputs=tuple(view.spec.after),
        )

    def remove(self, ref: str) -> ModelVersion:
        """Raises ``Conflict`` while a live service uses the version."""
        version = self._hub.get(ref)
        for row, spec in self._reading.live_services():
            if spec.service is not None and spec.service.model == version.ref:
                raise Conflict(f"{version.ref} is served by {row.name} ({row.id}).", hint="Stop that service first.")
        return self._hub.remove(version.ref)
