"""What a spec that comes ready-made has to satisfy. Files are checked by ``model.workload_file``, with lines."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from ampacity.model.errors import InvalidSpec, Where
from ampacity.model.resources import WHOLE_MILLI, AcceleratorRequest, Range
from ampacity.model.workload import ServiceSpec, WorkloadKind, WorkloadSpec

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_PORT = 65_535

Mistake = tuple[str, str]
"""A key of the spec, and what is wrong with it."""


def check_spec(spec: WorkloadSpec) -> None:
    """Pass, or raise ``InvalidSpec`` with the key of the first mistake."""
    for key, message in _mistakes(spec):
        raise InvalidSpec(message, where=Where(key=f"spec.{key}"))


def _mistakes(spec: WorkloadSpec) -> Iterator[Mistake]:
    if not _NAME.fullmatch(spec.name):
        yield "name", "has to be small letters, digits and '-', at most 63, with a letter or digit first."
    yield from _command(spec)
    yield from _gang(spec)
    yield from _resources(spec)
    yield from _times(spec)
    if spec.service is not None:
        yield from _service(spec.service)


def _command(spec: WorkloadSpec) -> Iterator[Mistake]:
    is_service = spec.kind is WorkloadKind.SERVICE
    if is_service != (spec.service is not None):
        yield "service", "goes with the kind service, and that kind needs it."
    has_model = spec.service is not None and bool(spec.service.model)
    if not spec.run.strip() and not has_model:
        yield "run", "is missing: there is nothing to run."
    for key, path in (("workdir", spec.workdir), ("checkpoint.directory", spec.checkpoint.directory)):
        if path and not os.path.isabs(path):
            yield key, f"{path!r} is not absolute."
    for name in spec.envs:
        if not _ENV_NAME.fullmatch(name):
            yield "envs", f"{name!r} is not a name of a variable."
    if "\0" in "".join((spec.run, spec.setup, spec.workdir, *spec.envs.values())):
        yield "run", "No text may hold a zero byte."


def _gang(spec: WorkloadSpec) -> Iterator[Mistake]:
    yield from _range("num_nodes", spec.num_nodes, least=1)
    if spec.kind is not WorkloadKind.TRAIN:
        if spec.num_nodes.minimum != spec.num_nodes.maximum:
            yield "num_nodes", "only a train is elastic."
        if spec.ranks_per_node is not None:
            yield "ranks_per_node", "goes with the kind train only."
    if spec.ranks_per_node is not None and spec.ranks_per_node < 1:
        yield "ranks_per_node", "has to be 1 or more."
    if spec.replicas < 0 or (spec.kind is not WorkloadKind.SERVICE and spec.replicas != 1):
        yield "replicas", "has to be 1, and for a service 0 or more."
    if spec.retry.maximum is None and spec.kind is not WorkloadKind.SERVICE:
        yield "retry.maximum", "only a service may begin again without end."
    if spec.retry.maximum is not None and spec.retry.maximum < 0:
        yield "retry.maximum", "has to be 0 or more."


def _resources(spec: WorkloadSpec) -> Iterator[Mistake]:
    wanted = spec.resources
    yield from _range("resources.cpu_milli", wanted.cpu_milli, least=0)
    yield from _range("resources.memory_bytes", wanted.memory_bytes, least=0)
    if wanted.disk_bytes < 0:
        yield "resources.disk_bytes", "has to be 0 or more."
    for index, accelerator in enumerate(wanted.accelerators):
        yield from _accelerator(f"resources.accelerators[{index}]", accelerator)


def _accelerator(key: str, wanted: AcceleratorRequest) -> Iterator[Mistake]:
    yield from _range(f"{key}.count", wanted.count, least=1)
    if not wanted.kind:
        yield f"{key}.kind", "is empty. Write '*' for any kind."
    if not 0 < wanted.milli <= WHOLE_MILLI:
        yield f"{key}.milli", f"has to be 1 to {WHOLE_MILLI}."
    elif wanted.milli < WHOLE_MILLI and wanted.count != Range.exactly(1):
        yield f"{key}.milli", "a share goes with a count of one."


def _times(spec: WorkloadSpec) -> Iterator[Mistake]:
    if spec.grace_s < 0:
        yield "grace_s", "has to be 0 or more."
    if spec.max_duration_s is not None and spec.max_duration_s <= 0:
        yield "max_duration_s", "is no time at all."
    if spec.checkpoint.every_s is not None and spec.checkpoint.every_s <= 0:
        yield "checkpoint.every_s", "is no time at all."


def _service(service: ServiceSpec) -> Iterator[Mistake]:
    if not 0 <= service.port <= _MAX_PORT:
        yield "service.port", f"has to be 0 (a free one) to {_MAX_PORT}."
    if service.engine and not service.model:
        yield "service.engine", "an engine needs a model."
    probe = service.readiness
    if not probe.path.startswith("/"):
        yield "service.readiness.path", "has to begin with '/'."
    if probe.interval_s <= 0 or probe.timeout_s <= 0 or probe.failures < 1:
        yield "service.readiness", "its times have to be more than 0, its failures 1 or more."


def _range(key: str, given: Range, *, least: int) -> Iterator[Mistake]:
    if given.minimum < least or (given.maximum is not None and given.maximum < given.minimum):
        yield key, f"{given} is no range from {least} upwards."
