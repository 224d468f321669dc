"""What does not go together, though every key is right by itself."""

from __future__ import annotations

from collections.abc import Iterator

from ampacity.model.resources import ANY_KIND
from ampacity.model.workload import WorkloadKind

from .keys import ONLY_FOR, WorkloadKeys
from .mistakes import Mistake
from .volume_keys import contradictions_of_volumes


def contradictions(keys: WorkloadKeys) -> Iterator[Mistake]:
    """Every contradiction; their lines are not known yet."""
    yield from _of_kind(keys)
    yield from _of_command(keys)
    yield from _of_gang(keys)
    yield from _of_throughput(keys)
    yield from _of_giving_way(keys)
    yield from _of_times(keys)
    yield from _of_secrets(keys)
    yield from contradictions_of_volumes(keys.volumes or {})
    yield from _of_overload(keys)
    yield from _of_rules(keys)


def _of_kind(keys: WorkloadKeys) -> Iterator[Mistake]:
    for key, kind in ONLY_FOR.items():
        if key in keys.model_fields_set and keys.type is not kind:
            yield Mistake(
                f"goes with 'type: {kind}' only; this is a {keys.type}.",
                path=(key,),
                hint=f"Leave it out, or write 'type: {kind}'.",
            )


def _of_command(keys: WorkloadKeys) -> Iterator[Mistake]:
    if keys.type is not WorkloadKind.SERVICE:
        if keys.run is None:
            yield Mistake("is missing: there is nothing to run.", path=("run",), hint="Add a line 'run: <command>'.")
        return
    if keys.run is None and keys.model is None:
        yield Mistake("a service needs 'run' or 'model'.", hint="Say what to run, or which model to serve.")
    if keys.engine is not None and keys.model is None:
        yield Mistake("an engine needs a model.", path=("engine",), hint="Add a line 'model: <name>'.")
    if keys.engine is not None and keys.run is not None:
        yield Mistake("either 'run' or the engine is the server.", path=("engine",), hint="Leave out one of the two.")
    if keys.engine_args is not None and keys.run is not None:
        yield Mistake("is for an engine, and here 'run' is the server.", path=("engine_args",), hint="Leave it out.")


def _of_gang(keys: WorkloadKeys) -> Iterator[Mistake]:
    size = keys.num_nodes
    if size is None:
        return
    if keys.type is WorkloadKind.SERVICE and size.maximum != 1:
        yield Mistake(
            "more than one node for a replica of a service is not supported yet.",
            path=("num_nodes",),
            hint="For more copies write 'replicas'.",
        )
    elif keys.type is not WorkloadKind.TRAIN and size.maximum != size.minimum:
        yield Mistake(
            f"only a train is elastic; this is a {keys.type}.", path=("num_nodes",), hint=f"Write {size.minimum}."
        )


def _of_throughput(keys: WorkloadKeys) -> Iterator[Mistake]:
    """Rates of kinds that it does not ask for say nothing."""
    resources = keys.resources
    if resources is None or resources.throughput is None:
        return
    kinds = [each.kind for each in resources.accelerators or ()]
    odd = [] if ANY_KIND in kinds else [kind for kind in resources.throughput if kind not in kinds]
    for kind in odd:
        asks = f"It asks for {', '.join(kinds)}." if kinds else "It asks for no accelerators."
        yield Mistake("is not a kind that it asks for.", path=("resources", "throughput", kind), hint=asks)


def _of_giving_way(keys: WorkloadKeys) -> Iterator[Mistake]:
    for name in ("yield_to", "outrank"):
        if getattr(keys, name) == []:
            yield Mistake("is empty.", path=(name,), hint="Name kinds, such as [train], or leave the key out.")
    if keys.yield_to and keys.outrank:
        yield Mistake("does not go with 'yield_to'.", path=("outrank",), hint="Keep one of the two.")
    if keys.yield_to and keys.preemptible is False:
        yield Mistake("does not go with 'preemptible: false'.", path=("yield_to",), hint="Keep one of the two.")
    if keys.keep_replicas is not None and not keys.preemptible and not keys.yield_to:
        yield Mistake(
            "says nothing: it gives no place to others.",
            path=("keep_replicas",),
            hint="Add 'preemptible: true' or 'yield_to', or leave it out.",
        )


def _of_times(keys: WorkloadKeys) -> Iterator[Mistake]:
    if keys.deadline is not None and keys.type is WorkloadKind.SERVICE:
        yield Mistake("a service is never done.", path=("deadline",), hint="Leave it out.")
    if keys.deadline is not None and keys.deadline.within_s == 0:
        yield Mistake("is no time at all.", path=("deadline",), hint="Leave it out for no deadline.")
    if keys.max_duration == 0:
        yield Mistake("is no time at all.", path=("max_duration",), hint="Leave it out for no limit.")
    if keys.hedge_after == 0:
        yield Mistake("is no time at all.", path=("hedge_after",), hint="Write a time such as 2s.")
    if keys.checkpoint is not None and keys.checkpoint.every == 0:
        yield Mistake("is no time at all.", path=("checkpoint", "every"), hint="Write a time such as 10m.")
    for name in ("interval", "timeout"):
        if keys.readiness is not None and getattr(keys.readiness, name) == 0:
            yield Mistake("is no time at all.", path=("readiness", name), hint="Write a time such as 5s.")
    if keys.retry is not None and keys.retry.max is None and keys.type is not WorkloadKind.SERVICE:
        yield Mistake("is missing: how often may it begin again?", path=("retry", "max"), hint="Add 'max: 3'.")
    if keys.retry is not None and keys.retry.on_events == []:
        yield Mistake("is empty.", path=("retry", "on_events"), hint="Name events, or leave the key out for all.")


def _of_secrets(keys: WorkloadKeys) -> Iterator[Mistake]:
    if keys.secrets is None:
        return
    if not keys.secrets.envs and not keys.secrets.files:
        yield Mistake("is empty.", path=("secrets",), hint="Name secrets, or leave the key out.")
    files = {f"{name}_FILE" for name in keys.secrets.files or ()}
    for name in sorted({*(keys.secrets.envs or ()), *files} & {*(keys.envs or ())}):
        yield Mistake(f"gives {name}, and so does 'secrets'.", path=("envs", name), hint="Keep one of the two.")
    for name in sorted(files & {*(keys.secrets.envs or ())}):
        yield Mistake(f"gives the variable {name} twice.", path=("secrets",), hint="Rename one of the two secrets.")


def _of_overload(keys: WorkloadKeys) -> Iterator[Mistake]:
    overload = keys.overload
    if overload is None:
        return
    if overload.max_wait == 0:
        yield Mistake("is no time at all.", path=("overload", "max_wait"), hint="Write a time such as 10s.")
    does = overload.max_tokens is not None or overload.model is not None
    if does and overload.after is None:
        yield Mistake(
            "is missing: from which wait on?", path=("overload", "after"), hint="Write a time such as 'after: 2s'."
        )
    if overload.after is not None and not does:
        yield Mistake("has nothing to do.", path=("overload", "after"), hint="Add 'max_tokens' or 'model'.")
    name = keys.served_name or (keys.model or "").partition(":")[0]
    if overload.model is not None and overload.model == name:
        yield Mistake("is this model itself.", path=("overload", "model"), hint="Name another model.")


def _of_rules(keys: WorkloadKeys) -> Iterator[Mistake]:
    apart = keys.anti_affinity
    if apart is not None and (apart.tree is None) != (apart.level is None):
        missing = "tree" if apart.tree is None else "level"
        hint = "Write both a tree and a level, or neither for nodes."
        yield Mistake("is missing.", path=("anti_affinity", missing), hint=hint)
    if apart is not None and not apart.workloads:
        yield Mistake("is empty.", path=("anti_affinity",), hint="Name workloads, or leave the key out.")
