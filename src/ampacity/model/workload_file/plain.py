"""A spec back to the keys of a workload file, and the check of specs that come from outside as they are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ampacity.model.errors import InvalidSpec, Where
from ampacity.model.quantities import (
    print_accelerators,
    print_bytes,
    print_cpu_range,
    print_duration,
    print_memory_range,
)
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.workload import CheckpointPolicy, Deadline, RetryPolicy, ServiceSpec, WorkloadKind, WorkloadSpec

from .parse import spec_from_plain


def checked_spec(spec: WorkloadSpec) -> WorkloadSpec:
    """The spec with its defaults filled in, held to the same rules as a workload file.

    For specs that a client sends as they are: their types are right, what they say need not be.

    Raises:
        InvalidSpec: with the key of the first mistake, named as in a workload file.
    """
    if spec.workdir and not spec.workdir.startswith("/"):
        raise InvalidSpec(
            f"{spec.workdir!r} is not an absolute path.", where=Where(key="workdir"), hint="Give it from / on."
        )
    found = spec_from_plain(plain_from_spec(spec))
    if found.resources != spec.resources:
        raise InvalidSpec(
            "does not make sense: a share goes with one accelerator, and a range with its least first.",
            where=Where(key="resources"),
            hint="Ask for one accelerator with 1 to 999 thousandths, or for whole ones with 1000.",
        )
    return found


def plain_from_spec(spec: WorkloadSpec) -> dict[str, Any]:
    """The keys and values that :func:`spec_from_plain` makes the spec of. What is left to its default is left out.

    Raises:
        InvalidSpec: it has alternative accelerators, which files cannot say yet.
    """
    keys: dict[str, Any] = {
        "name": spec.name,
        "type": str(spec.kind),
        "run": spec.run,
        "setup": spec.setup,
        "workdir": spec.workdir,
        "envs": dict(spec.envs),
        "secrets": _filled({"envs": list(spec.secrets.envs), "files": list(spec.secrets.files)}),
        "resources": _resources(spec.resources),
        "num_nodes": None if spec.num_nodes == Range.exactly(1) else str(spec.num_nodes),
        "ranks_per_node": spec.ranks_per_node,
        "replicas": None if spec.replicas == 1 else spec.replicas,
        "queue": spec.queue,
        "priority": spec.priority,
        "deadline": None if spec.deadline is None else _deadline(spec.deadline),
        "after": list(spec.after),
        "retry": _retry(spec.kind, spec.retry),
        "checkpoint": _checkpoint(spec.checkpoint),
        "max_duration": None if spec.max_duration_s is None else print_duration(spec.max_duration_s),
        "grace": print_duration(spec.grace_s),
        **({} if spec.service is None else _service(spec.service)),
    }
    return _filled(keys)


def _resources(request: ResourceRequest) -> dict[str, Any]:
    if len(request.accelerators) > 1:
        raise InvalidSpec(
            "a choice between accelerators is not supported yet.", where=Where(key="resources.accelerators")
        )
    return _filled(
        {
            "accelerators": print_accelerators(request.accelerators[0]) if request.accelerators else None,
            "cpus": print_cpu_range(request.cpu_milli),
            "memory": None if request.memory_bytes == Range.exactly(0) else print_memory_range(request.memory_bytes),
            "disk": print_bytes(request.disk_bytes) if request.disk_bytes else None,
        }
    )


def _deadline(deadline: Deadline) -> str:
    if deadline.at is not None:
        try:
            return datetime.fromtimestamp(deadline.at, UTC).isoformat()
        except (OverflowError, ValueError, OSError):
            raise InvalidSpec(f"{deadline.at:g} is not a time.", where=Where(key="deadline")) from None
    return print_duration(deadline.within_s or 0.0)


def _retry(kind: WorkloadKind, retry: RetryPolicy) -> dict[str, Any] | None:
    usual = RetryPolicy(maximum=None if kind is WorkloadKind.SERVICE else 0)
    if retry == usual:
        return None
    return {"max": retry.maximum, "on_events": [str(event) for event in retry.on_events]}


def _checkpoint(checkpoint: CheckpointPolicy) -> dict[str, Any]:
    every = None if checkpoint.every_s is None else print_duration(checkpoint.every_s)
    within = None if checkpoint.within_s == CheckpointPolicy().within_s else print_duration(checkpoint.within_s)
    return _filled({"dir": checkpoint.directory, "every": every, "within": within})


def _service(service: ServiceSpec) -> dict[str, Any]:
    usual, probe = ServiceSpec().readiness, service.readiness
    readiness = {
        "path": probe.path,
        "interval": print_duration(probe.interval_s),
        "timeout": print_duration(probe.timeout_s),
        "failures": probe.failures,
    }
    return {
        "port": service.port or None,
        "model": service.model,
        "engine": service.engine,
        "engine_args": list(service.engine_args),
        "served_name": service.served_name,
        "readiness": None if probe == usual else readiness,
    }


def _filled(keys: dict[str, Any]) -> dict[str, Any]:
    """Without what is left out: nothing, empty text, empty lists and maps."""
    return {key: value for key, value in keys.items() if value is not None and value not in ("", [], {})}
