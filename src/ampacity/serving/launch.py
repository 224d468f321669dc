"""From a service's spec to the command of one replica, and to the names that its model goes by."""

from __future__ import annotations

from ampacity.model.command import Command
from ampacity.model.traffic import Resume
from ampacity.model.workload import WorkloadSpec

from .engines import engine_named

DEFAULT_ENGINE = "transformers"


def replica_command(spec: WorkloadSpec, *, python: str, model_dir: str | None) -> Command:
    """What a replica runs: its engine over the model's folder, or its own command with a port.

    Raises:
        InvalidSpec: there is no such engine.
        ValueError: the spec is no service, or an engine has no model.
    """
    service = spec.service
    if service is None:
        raise ValueError(f"{spec.name} is a {spec.kind}, not a service")
    if spec.run:
        env = {} if model_dir is None else {"MODEL_DIR": model_dir}
        return Command(argv=("/bin/sh", "-c", spec.run), env=env, port=service.port)
    if model_dir is None:
        raise ValueError(f"{spec.name} has neither a command nor a model")
    engine = engine_named(service.engine or DEFAULT_ENGINE)
    return engine.command(model_dir, served_name(spec), service.engine_args, python=python)


def served_name(spec: WorkloadSpec) -> str:
    """The model name that the gateway answers to; empty when the service is not on the gateway."""
    if spec.service is None:
        return ""
    return spec.service.served_name or spec.service.model.partition(":")[0]


def upstream_name(spec: WorkloadSpec) -> str:
    """What requests to a replica have to call the model: the engine says; a command of the user's own hears the
    served name."""
    name = served_name(spec)
    if spec.service is None or spec.run or not spec.service.model:
        return name
    return engine_named(spec.service.engine or DEFAULT_ENGINE).upstream_name(name)


def resumed(spec: WorkloadSpec) -> Resume:
    """Which of its streams another replica may go on with: the engine says; of a command of the user's own, all."""
    if spec.service is None or spec.run or not spec.service.model:
        return Resume.ALL
    return engine_named(spec.service.engine or DEFAULT_ENGINE).resumes


def health_path(spec: WorkloadSpec) -> str:
    """Where readiness is asked: the engine's own path unless a command is run."""
    assert spec.service is not None, "only services are probed"
    if spec.run:
        return spec.service.readiness.path
    return engine_named(spec.service.engine or DEFAULT_ENGINE).health_path
