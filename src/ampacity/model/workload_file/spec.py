"""Checked keys to a ``WorkloadSpec``: defaults and absolute paths."""

from __future__ import annotations

from collections.abc import Mapping
from posixpath import join, normpath
from typing import Any

from ampacity.model.ids import DEFAULT_QUEUE, QueueName
from ampacity.model.resources import Counted, KindRate, Range, ResourceRequest
from ampacity.model.service_terms import BrownOut, Overload, Price
from ampacity.model.workload import (
    CheckpointPolicy,
    GivingWay,
    ReadinessProbe,
    RetryPolicy,
    SecretUse,
    ServiceSpec,
    WorkloadKind,
    WorkloadSpec,
)

from .keys import (
    CheckpointKeys,
    OverloadKeys,
    PriceKeys,
    ReadinessKeys,
    ResourceKeys,
    RetryKeys,
    SecretKeys,
    WorkloadKeys,
)
from .rule_keys import rules_of
from .volume_keys import uses_of


def spec_of(keys: WorkloadKeys, directory: str) -> WorkloadSpec:
    """The spec of keys that do not contradict each other.

    Args:
        keys: as checked.
        directory: absolute; relative paths are taken from there.
    """
    workdir = "" if keys.workdir is None else normpath(join(directory, keys.workdir))
    given: dict[str, Any] = {
        "run": keys.run,
        "setup": keys.setup,
        "envs": keys.envs,
        "num_nodes": keys.num_nodes,
        "ranks_per_node": keys.ranks_per_node,
        "replicas": keys.replicas,
        "priority": keys.priority,
        "deadline": keys.deadline,
        "max_duration_s": keys.max_duration,
        "grace_s": keys.grace,
    }
    return WorkloadSpec(
        name=keys.name,
        kind=keys.type,
        workdir=workdir,
        queue=DEFAULT_QUEUE if keys.queue is None else QueueName(keys.queue),
        after=tuple(dict.fromkeys(keys.after or ())),
        secrets=_secrets(keys.secrets or SecretKeys()),
        volumes=uses_of(keys.volumes or {}, directory),
        resources=_resources(keys.resources or ResourceKeys()),
        retry=_retry(keys.type, keys.retry or RetryKeys()),
        checkpoint=_checkpoint(keys.checkpoint or CheckpointKeys(), workdir or directory),
        rules=rules_of(keys.selector, keys.prefer, keys.anti_affinity, keys.tolerations, keys.topology),
        giving_way=GivingWay(
            preemptible=keys.preemptible,
            yield_to=tuple(dict.fromkeys(keys.yield_to or ())),
            outrank=tuple(dict.fromkeys(keys.outrank or ())),
            keep_replicas=keys.keep_replicas or 0,
        ),
        service=_service(keys) if keys.type is WorkloadKind.SERVICE else None,
        **{name: value for name, value in given.items() if value is not None},
    )


def _secrets(keys: SecretKeys) -> SecretUse:
    return SecretUse(envs=tuple(dict.fromkeys(keys.envs or ())), files=tuple(dict.fromkeys(keys.files or ())))


def _resources(keys: ResourceKeys) -> ResourceRequest:
    default = ResourceRequest()
    return ResourceRequest(
        accelerators=keys.accelerators or (),
        cpu_milli=keys.cpus or default.cpu_milli,
        memory_bytes=keys.memory or Range.exactly(0),
        disk_bytes=keys.disk or 0,
        counted=_counted(keys.counted),
        licences=_counted(keys.licences),
        power_w=keys.power or 0,
        throughput=tuple(
            KindRate(kind=kind, steps_per_s=rate) for kind, rate in sorted((keys.throughput or {}).items())
        ),
    )


def _counted(keys: Mapping[str, int] | None) -> tuple[Counted, ...]:
    return tuple(Counted(name=name, amount=amount) for name, amount in sorted((keys or {}).items()))


def _retry(kind: WorkloadKind, keys: RetryKeys) -> RetryPolicy:
    """A service begins again without end unless it says otherwise."""
    events: dict[str, Any] = {} if keys.on_events is None else {"on_events": tuple(dict.fromkeys(keys.on_events))}
    if keys.max is None:
        return RetryPolicy(maximum=None if kind is WorkloadKind.SERVICE else 0, **events)
    return RetryPolicy(maximum=keys.max, **events)


def _checkpoint(keys: CheckpointKeys, base: str) -> CheckpointPolicy:
    directory = "" if keys.dir is None else normpath(join(base, keys.dir))
    within: dict[str, Any] = {} if keys.within is None else {"within_s": keys.within}
    return CheckpointPolicy(directory=directory, every_s=keys.every, **within)


def _service(keys: WorkloadKeys) -> ServiceSpec:
    model = keys.model or ""
    return ServiceSpec(
        port=keys.port or 0,
        model=model,
        engine=keys.engine or "",
        engine_args=tuple(keys.engine_args or ()),
        served_name=keys.served_name or model.partition(":")[0],
        readiness=_readiness(keys.readiness or ReadinessKeys()),
        concurrency=keys.concurrency or 0,
        routing=keys.routing,
        hedge_after_s=keys.hedge_after or 0.0,
        price=None if keys.price is None else _price(keys.price),
        overload=_overload(keys.overload or OverloadKeys()),
    )


def _price(keys: PriceKeys) -> Price:
    return Price(input=keys.input or 0.0, output=keys.output or 0.0, cached_input=keys.cached_input)


def _overload(keys: OverloadKeys) -> Overload:
    max_wait_s = Overload().max_wait_s if keys.max_wait is None else keys.max_wait
    if keys.after is None:
        return Overload(max_wait_s=max_wait_s)
    brown_out = BrownOut(after_s=keys.after, max_tokens=keys.max_tokens, model=keys.model or "")
    return Overload(max_wait_s=max_wait_s, brown_out=brown_out)


def _readiness(keys: ReadinessKeys) -> ReadinessProbe:
    given: dict[str, Any] = {
        "path": keys.path,
        "interval_s": keys.interval,
        "timeout_s": keys.timeout,
        "failures": keys.failures,
    }
    return ReadinessProbe(**{name: value for name, value in given.items() if value is not None})
