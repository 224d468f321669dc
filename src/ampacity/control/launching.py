"""From an attempt and its spec to what a driver starts."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Protocol

from ampacity.drivers.base import Launch, Limits, Mount
from ampacity.model.command import Command
from ampacity.model.errors import NotFound
from ampacity.model.ids import Project
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.site import Site
from ampacity.model.volume import Volume
from ampacity.model.workload import WorkloadKind, WorkloadSpec

from .jobs import Job

ARRAY_INDEX, ARRAY_SIZE = "AMPACITY_ARRAY_INDEX", "AMPACITY_ARRAY_SIZE"


class Models(Protocol):
    """What launching needs of the hub."""

    def materialize(self, ref: str) -> Path: ...


class Reveals(Protocol):
    """What launching needs of the secrets."""

    def reveal(self, project: Project, names: Collection[str]) -> Mapping[str, bytes]: ...


class Launches(Protocol):
    """What acting needs: a launch for each member of an attempt."""

    def launch(self, job: Job, member: int) -> Launch: ...


class Launcher:
    """Makes launches. ``state_dir`` is where gangs meet and where checkpoints lie that name no folder."""

    def __init__(
        self, state_dir: Path, models: Models, *, secrets: Reveals | None = None, python: str = sys.executable
    ) -> None:
        self._state_dir, self._models, self._python = state_dir, models, python
        self._secrets = secrets
        self._gangs = state_dir / "gangs"

    def tidy(self, live: Callable[[], Collection[str]]) -> None:
        """Remove the meeting places of gangs that are not among these attempts; they are asked for if there are any."""
        folders = list(self._gangs.iterdir()) if self._gangs.is_dir() else []
        known = live() if folders else ()
        for folder in [entry for entry in folders if entry.name not in known]:
            shutil.rmtree(folder, ignore_errors=True)

    def launch(self, job: Job, member: int) -> Launch:
        """Raises ``HubError`` or ``NotFound`` when the model cannot be had, ``NotFound`` or ``SecretsUnreadable`` when
        a secret cannot."""
        spec, attempt = job.spec, job.attempt
        command = self._command(job, member)
        placed = attempt.members[member]
        values = self._values(job)
        return Launch(
            key=attempt.key(member),
            node=placed.node,
            argv=command.argv,
            env={**spec.envs, **command.env, **self._environment(job)},
            files=command.files,
            secret_envs={name: values[name] for name in spec.secrets.envs},
            secret_files={name: values[name] for name in spec.secrets.files},
            workdir=spec.workdir,
            setup=spec.setup,
            mounts=mounts_of(spec, job.site),
            allocation=placed.allocation,
            limits=limits_of(spec.resources),
            port=command.port,
            grace_s=spec.grace_s,
            max_duration_s=spec.max_duration_s,
        )

    def _command(self, job: Job, member: int) -> Command:
        match job.spec.kind:
            case WorkloadKind.TRAIN:
                return self._gang(job, member)
            case WorkloadKind.SERVICE:
                return self._replica(job)
            case WorkloadKind.TASK | WorkloadKind.DATA | WorkloadKind.DEV:
                return Command(argv=("/bin/sh", "-c", job.spec.run))

    def _gang(self, job: Job, member: int) -> Command:
        from ampacity.training.launch import gang_command

        attempt, policy = job.attempt, job.spec.retry
        gang_dir = self._gangs / attempt.id
        gang_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        head = job.nodes.get(attempt.members[0].node)
        return gang_command(
            job.spec,
            attempt,
            member,
            python=self._python,
            gang_dir=str(gang_dir),
            checkpoint_dir=self._checkpoint_dir(job),
            master_address="127.0.0.1" if head is None else head.address,
            restarts_left=None if policy.maximum is None else max(0, policy.maximum - job.replica.failures),
        )

    def _replica(self, job: Job) -> Command:
        from ampacity.serving.launch import replica_command

        service = job.spec.service
        model_dir = str(self._models.materialize(service.model)) if service is not None and service.model else None
        return replica_command(job.spec, python=self._python, model_dir=model_dir)

    def _checkpoint_dir(self, job: Job) -> str:
        """Where the job's checkpoints lie: as its spec says since it was accepted, else by its id."""
        return job.spec.checkpoint.directory or str(self._state_dir / "checkpoints" / job.workload.id)

    def _values(self, job: Job) -> Mapping[str, bytes]:
        names = job.spec.secrets.names
        return self._secrets.reveal(job.workload.project, names) if self._secrets is not None and names else {}

    @staticmethod
    def _environment(job: Job) -> dict[str, str]:
        place = job.workload.array
        element = {} if place is None else {ARRAY_INDEX: str(place.index), ARRAY_SIZE: str(place.size)}
        return {
            **element,
            "AMPACITY_WORKLOAD": job.workload.id,
            "AMPACITY_WORKLOAD_NAME": job.workload.name,
            "AMPACITY_PROJECT": job.workload.project,
            "AMPACITY_ATTEMPT": job.attempt.id,
            "AMPACITY_EPOCH": str(job.attempt.epoch),
        }


def mounts_of(spec: WorkloadSpec, site: Site) -> tuple[Mount, ...]:
    """What its processes find at which path. Raises ``NotFound`` when a volume is not there any more."""
    mounts = []
    for use in spec.volumes:
        volume = site.storage.get(use.volume) if use.volume else Volume(path=use.folder)
        if volume is None:
            hint = "Name it under `storage` in the topology file."
            raise NotFound(f"there is no volume {use.volume} any more", hint=hint)
        read_only = use.read_only or volume.read_only
        mounts.append(Mount(source=volume.path, target=use.target, read_only=read_only))
    return tuple(mounts)


def limits_of(request: ResourceRequest) -> Limits:
    """The upper end of what was asked for: of ``cpus: 2`` two, of ``2..4`` four. ``2+``, and what was not asked for,
    is not limited."""
    return Limits(
        cpu_milli=_most(request.cpu_milli),
        memory_bytes=_most(request.memory_bytes),
        disk_bytes=request.disk_bytes or None,
    )


def _most(asked: Range) -> int | None:
    return asked.maximum or None
