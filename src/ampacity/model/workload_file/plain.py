"""A spec back to the keys of a workload file, and the check of specs that come from outside as they are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ampacity.model.errors import InvalidSpec, Where
from ampacity.model.quantities import (
    print_accelerator_choice,
    print_bytes,
    print_cpu_range,
    print_duration,
    print_memory_range,
    print_power,
)
from ampacity.model.resources import Range, ResourceRequest
from ampacity.model.service_terms import Overload, Price
from ampacity.model.workload import CheckpointPolicy, Deadline, RetryPolicy, ServiceSpec, WorkloadKind, WorkloadSpec

from .parse import spec_from_plain
from .rule_keys import plain_rules
from .volume_keys import plain_volumes


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
    """The keys and values that :func:`spec_from_plain` makes the spec of. What is left to its default is left out."""
    keys: dict[str, Any] = {
        "name": spec.name,
        "type": str(spec.kind),
        "run": spec.run,
        "setup": spec.setup,
        "workdir": spec.workdir,
        "envs": dict(spec.envs),
        "secrets": _filled({"envs": list(spec.secrets.envs), "files": list(spec.secrets.files)}),
        "volumes": plain_volumes(spec.volumes),
        "resources": _resources(spec.resources),
        "num_nodes": None if spec.num_nodes == Range.exactly(1) else str(spec.num_nodes),
        "ranks_per_node": spec.ranks_per_node,
        "replicas": None if spec.replicas == 1 else spec.replicas,
        **plain_rules(spec.rules),
        "queue": spec.queue,
        "priority": spec.priority,
        "deadline": None if spec.deadline is None else _deadline(spec.deadline),
        "preemptible": spec.giving_way.preemptible,
        "yield_to": [str(kind) for kind in spec.giving_way.yield_to],
        "outrank": [str(kind) for kind in spec.giving_way.outrank],
        "keep_replicas": spec.giving_way.keep_replicas or None,
        "after": list(spec.after),
        "retry": _retry(spec.kind, spec.retry),
        "checkpoint": _checkpoint(spec.checkpoint),
        "max_duration": None if spec.max_duration_s is None else print_duration(spec.max_duration_s),
        "grace": print_duration(spec.grace_s),
        **({} if spec.service is None else _service(spec.service)),
    }
    return _filled(keys)


def _resources(request: ResourceRequest) -> dict[str, Any]:
    return _filled(
        {
            "accelerators": print_accelerator_choice(request.accelerators) if request.accelerators else None,
            "cpus": print_cpu_range(request.cpu_milli),
            "memory": None if request.memory_bytes == Range.exactly(0) else print_memory_range(request.memory_bytes),
            "disk": print_bytes(request.disk_bytes) if request.disk_bytes else None,
            "counted": {each.name: each.amount for each in request.counted},
            "licences": {each.name: each.amount for each in request.licences},
            "power": print_power(request.power_w) if request.power_w else None,
            "throughput": {each.kind: each.steps_per_s for each in request.throughput},
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
        "concurrency": service.concurrency or None,
        "routing": None if service.routing is None else service.routing.value,
        "hedge_after": print_duration(service.hedge_after_s) if service.hedge_after_s else None,
        "price": None if service.price is None else _price(service.price),
        "overload": _overload(service.overload),
    }


def _price(price: Price) -> dict[str, Any]:
    found = {"input": price.input, "output": price.output}
    return found if price.cached_input is None else {**found, "cached_input": price.cached_input}


def _overload(overload: Overload) -> dict[str, Any]:
    usual, brown_out = Overload(), overload.brown_out
    return _filled(
        {
            "max_wait": None if overload.max_wait_s == usual.max_wait_s else print_duration(overload.max_wait_s),
            "after": None if brown_out is None else print_duration(brown_out.after_s),
            "max_tokens": None if brown_out is None else brown_out.max_tokens,
            "model": "" if brown_out is None else brown_out.model,
        }
    )


def _filled(keys: dict[str, Any]) -> dict[str, Any]:
    """Without what is left out: nothing, empty text, empty lists and maps."""
    return {key: value for key, value in keys.items() if value is not None and value not in ("", [], {})}
