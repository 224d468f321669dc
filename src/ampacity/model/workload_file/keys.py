"""The keys of a workload file: the one definition of what is checked, of the editors' schema and of what is refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema

from ampacity.model.service_terms import Routing
from ampacity.model.workload import WorkloadKind

from .rule_keys import Apart, Label, PreferKeys, Selector, Toleration, TopologyKeys
from .types import (
    Accelerators,
    Count,
    CountRange,
    Cpus,
    Due,
    Duration,
    EnvName,
    Event,
    Filled,
    Flag,
    Memory,
    ModelRef,
    Money,
    Name,
    Path,
    Port,
    Power,
    Priority,
    Rate,
    Retries,
    Scalar,
    Size,
    Text,
    UrlPath,
    nearest,
    said,
    wrong,
)
from .volume_keys import Target, Use

NOT_BUILT = {
    (): ("image", "python", "utilization_policy", "autoscaling", "file_mounts"),
    ("retry",): ("duration",),
    ("resources",): ("any_of",),
}
"""Keys that are known and refused until they are built, by the path of the map that they belong to."""

KINDS = (WorkloadKind.TASK, WorkloadKind.TRAIN, WorkloadKind.SERVICE, WorkloadKind.DATA)
"""The kinds that can be asked for. ``dev`` is not built yet."""

ONLY_FOR = {
    "keep_replicas": WorkloadKind.SERVICE,
    "ranks_per_node": WorkloadKind.TRAIN,
    "checkpoint": WorkloadKind.TRAIN,
    "replicas": WorkloadKind.SERVICE,
    "port": WorkloadKind.SERVICE,
    "model": WorkloadKind.SERVICE,
    "engine": WorkloadKind.SERVICE,
    "engine_args": WorkloadKind.SERVICE,
    "served_name": WorkloadKind.SERVICE,
    "readiness": WorkloadKind.SERVICE,
    "concurrency": WorkloadKind.SERVICE,
    "routing": WorkloadKind.SERVICE,
    "hedge_after": WorkloadKind.SERVICE,
    "price": WorkloadKind.SERVICE,
    "overload": WorkloadKind.SERVICE,
}
"""Keys that mean something for one kind alone."""

MEANT = {
    "accelerator": "resources.accelerators",
    "command": "run",
    "cmd": "run",
    "cpu": "resources.cpus",
    "depends_on": "after",
    "entrypoint": "run",
    "env": "envs",
    "environment": "envs",
    "gpu": "resources.accelerators",
    "gpus": "resources.accelerators",
    "kind": "type",
    "mem": "resources.memory",
    "node_selector": "selector",
    "nodes": "num_nodes",
    "nproc_per_node": "ranks_per_node",
    "readiness_probe": "readiness",
    "script": "run",
    "timeout": "max_duration",
    "working_dir": "workdir",
}
"""What people may have meant by keys that other tools have."""


def _kind(value: object) -> WorkloadKind:
    if value == WorkloadKind.DEV:
        raise wrong("'dev' is not supported yet.", f"Write one of {', '.join(KINDS)}.")
    if not isinstance(value, str) or value not in KINDS:
        raise wrong(f"has to be one of {', '.join(KINDS)}, not {said(value)}.", nearest(str(value), KINDS))
    return WorkloadKind(value)


Kind = Annotated[WorkloadKind, PlainValidator(_kind), WithJsonSchema({"enum": [str(kind) for kind in KINDS]})]


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class ResourceKeys(_Keys):
    """What each node of it needs."""

    accelerators: Accelerators | None = Field(
        default=None,
        description="Accelerators on each node: H100:8, H100 (one), H100:0.5 (a share of one), 8 (of any kind). "
        "Alternatives, the best liked first: H100:8 | A100:16.",
    )
    cpus: Cpus | None = Field(default=None, description="CPUs on each node: 16, 16+ or 0.5. One where it is left out.")
    memory: Memory | None = Field(
        default=None, description="Memory on each node: 128GB or 128GB+. Not counted where left out."
    )
    disk: Size | None = Field(default=None, description="Disk space on each node: 100GB.")
    counted: dict[Label, Count] | None = Field(
        default=None, description="Things on each node that are counted by a name: {fpga: 2}."
    )
    licences: dict[Label, Count] | None = Field(
        default=None, description="Licences for each node, of which the site has so many: {matlab: 1}."
    )
    power: Power | None = Field(
        default=None,
        description="The most that each node of it draws from its feed: 3kW. Not counted where left out.",
    )
    throughput: dict[Filled, Rate] | None = Field(
        default=None,
        description="How many steps a second it makes on each kind of accelerator, with what it asks for there: "
        "{H100: 3.1, A100: 1.2}. What ampacity.train has measured counts more; the rest is estimated.",
    )


class RetryKeys(_Keys):
    """How often it may begin again."""

    max: Retries | None = Field(default=None, description="How many times. Services: without end where it is left out.")
    on_events: list[Event] | None = Field(
        default=None,
        description="After which events: error (the job failed), interruption (its node or supervisor was lost).",
    )


class CheckpointKeys(_Keys):
    """Where and how often a training job saves its state."""

    dir: Path | None = Field(
        default=None, description="The folder, relative to workdir (or to the file, without a workdir)."
    )
    every: Duration | None = Field(default=None, description="How often: 10m. The job is told; it decides.")
    within: Duration | None = Field(
        default=None,
        description="How long it may take to save when it is asked to, before it has to leave its place: 1m.",
    )


class ReadinessKeys(_Keys):
    """When a replica of a service counts as ready."""

    path: UrlPath | None = Field(
        default=None, description="Ready when GET on this path answers 2xx. /health where left out."
    )
    interval: Duration | None = Field(default=None, description="How often it is asked: 1s.")
    timeout: Duration | None = Field(
        default=None, description="How long it may take to become ready the first time: 5m."
    )
    failures: Count | None = Field(
        default=None, description="After how many failures in a row it is not ready any more: 3."
    )


class PriceKeys(_Keys):
    """What a million tokens cost, in any one currency."""

    input: Money | None = Field(default=None, description="Of prompts.")
    cached_input: Money | None = Field(
        default=None, description="Of prompts, where the engine had them cached. As any input where left out."
    )
    output: Money | None = Field(default=None, description="Of answers.")


class OverloadKeys(_Keys):
    """What is done when more is asked for than the replicas can answer."""

    max_wait: Duration | None = Field(
        default=None, description="Who would stand in line for longer is refused at once: 30s."
    )
    after: Duration | None = Field(
        default=None, description="Once a request would wait so long, max_tokens and model apply: 2s."
    )
    max_tokens: Count | None = Field(default=None, description="Answers are cut to so many tokens.")
    model: ModelRef | None = Field(default=None, description="The name of another model that answers instead.")


class SecretKeys(_Keys):
    """Secrets of the project, by the names that `ampacity secrets set` gave them."""

    envs: list[EnvName] | None = Field(default=None, description="Given as variables of the same names.")
    files: list[EnvName] | None = Field(
        default=None, description="Given as files; the variable NAME_FILE says the path of each."
    )


def _secrets(value: object) -> object:
    """A list is short for ``envs``."""
    return {"envs": value} if isinstance(value, list) else value


Secrets = Annotated[
    SecretKeys,
    BeforeValidator(_secrets, json_schema_input_type=list[EnvName] | SecretKeys),
]


class WorkloadKeys(_Keys):
    """One workload. A file may hold several, with a line of --- between them."""

    name: Name = Field(description="Its name: small letters, digits and '-', at most 63.")
    type: Kind = Field(default=WorkloadKind.TASK, description="task (left out), train, service or data.")
    run: Filled | None = Field(default=None, description="The command: a shell script, run on every node.")
    setup: Text | None = Field(default=None, description="A shell script that is run before it, on every node.")
    workdir: Path | None = Field(
        default=None, description="Where it runs, relative to this file. Else a folder of its own."
    )
    envs: dict[EnvName, Scalar] | None = Field(default=None, description="Environment variables.")
    secrets: Secrets | None = Field(
        default=None,
        description="Secrets that it gets: [HF_TOKEN] as variables, or {envs: [...], files: [...]}.",
    )
    volumes: dict[Target, Use] | None = Field(
        default=None,
        description="What it finds at which path: {/data: corpus} (a volume of the topology file) or "
        "{/data: ./corpus} (a folder of the node).",
    )
    resources: ResourceKeys | None = Field(default=None, description="What each node of it needs.")
    num_nodes: CountRange | None = Field(
        default=None, description="How many nodes, all at once: 2; for a train also 2..4 or 2+, which is elastic."
    )
    ranks_per_node: Count | None = Field(
        default=None, description="train only: processes on each node. One for each accelerator where left out."
    )
    replicas: Count | None = Field(default=None, description="service only: how many copies. One where left out.")
    port: Port | None = Field(
        default=None, description="service only: its port. 0 or left out: a free one, given as PORT."
    )
    model: ModelRef | None = Field(default=None, description="service only: a model of the hub, name or name:version.")
    engine: Name | None = Field(default=None, description="service only: which engine serves the model.")
    engine_args: list[Scalar] | None = Field(default=None, description="service only: more arguments for the engine.")
    served_name: ModelRef | None = Field(
        default=None,
        description="service only: the model name that the gateway answers to. The model's name where left out.",
    )
    readiness: ReadinessKeys | None = Field(default=None, description="service only: when a replica counts as ready.")
    concurrency: Count | None = Field(
        default=None, description="service only: how many requests a replica takes at once. No limit where left out."
    )
    routing: Routing | None = Field(
        default=None,
        description="service only: how the gateway chooses among its replicas. least_loaded where left out.",
    )
    hedge_after: Duration | None = Field(
        default=None,
        description="service only: when the first token has not come by then, a second replica is asked as well: 2s. "
        "Never where left out.",
    )
    price: PriceKeys | None = Field(default=None, description="service only: what a million tokens cost.")
    overload: OverloadKeys | None = Field(
        default=None, description="service only: what is done when more is asked for than can be answered."
    )
    selector: Selector | None = Field(
        default=None,
        description="Labels that its nodes have to have: {zone: a}, {disk: [nvme, ssd]}, {gpu: '*'}; '!' before a "
        "value: not that one.",
    )
    prefer: list[PreferKeys] | None = Field(
        default=None, description="Nodes that it would rather have: [{labels: {cache/imagenet: '*'}, worth: 3}]."
    )
    anti_affinity: Apart | None = Field(
        default=None, description="Names of workloads that it does not share a node with, and they not with it."
    )
    tolerations: list[Toleration] | None = Field(
        default=None, description="Taints of nodes that do not keep it off: [maintenance, team=vision]."
    )
    topology: TopologyKeys | None = Field(
        default=None, description="Where its nodes have to be together: {tree: fabric, level: leaf, mode: required}."
    )
    queue: Name | None = Field(default=None, description="The queue. 'default' where left out.")
    priority: Priority | None = Field(default=None, description="low, normal, high, or a number from -1000 to 1000.")
    deadline: Due | None = Field(
        default=None, description="When it has to be done: 2030-05-31T18:00Z, or 12h after its submission."
    )
    preemptible: Flag | None = Field(
        default=None,
        description="Whether it may lose its place to a higher priority. A service may not where it is left out.",
    )
    yield_to: list[Kind] | None = Field(
        default=None, description="Kinds of workloads to which it gives its place at the same priority, too: [train]."
    )
    outrank: list[Kind] | None = Field(
        default=None, description="Kinds of workloads whose places it may take at the same priority, too: [train]."
    )
    keep_replicas: Count | None = Field(
        default=None, description="service only: how many replicas it keeps when it gives places to others."
    )
    after: list[Name] | None = Field(default=None, description="Names of workloads that have to succeed first.")
    retry: RetryKeys | None = Field(default=None, description="How often it may begin again.")
    checkpoint: CheckpointKeys | None = Field(
        default=None, description="train only: where and how often it saves its state."
    )
    max_duration: Duration | None = Field(default=None, description="It is stopped after this time: 12h.")
    grace: Duration | None = Field(default=None, description="Time between being asked to stop and being killed: 10s.")
