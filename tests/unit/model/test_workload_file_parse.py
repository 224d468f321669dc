"""Workload files: what a right one gives, and what each mistake says."""

from __future__ import annotations

import textwrap
from dataclasses import replace

import pytest

from ampacity.model.errors import InvalidSpec, Where
from ampacity.model.resources import AcceleratorRequest, Range, ResourceRequest
from ampacity.model.service_terms import BrownOut, Overload, Price
from ampacity.model.volume import VolumeUse
from ampacity.model.workload import (
    CheckpointPolicy,
    ReadinessProbe,
    RetryEvent,
    RetryPolicy,
    ServiceSpec,
    WorkloadKind,
    WorkloadSpec,
)
from ampacity.model.workload_file import parse_workload, spec_from_plain

TASK = "name: x\nrun: echo\n"
SERVICE = "name: x\ntype: service\nrun: serve\n"


def parse(text: str | bytes) -> tuple[WorkloadSpec, ...]:
    return parse_workload(text, file="w.yaml", directory="/home/u")


def mistake(text: str | bytes) -> InvalidSpec:
    with pytest.raises(InvalidSpec) as caught:
        parse(text)
    return caught.value


def test_the_smallest_file() -> None:
    assert parse(TASK) == (WorkloadSpec(name="x", kind=WorkloadKind.TASK, run="echo"),)


def test_every_key_of_a_training_job() -> None:
    text = """\
        name: pretrain
        type: train
        resources: {accelerators: H100:8, cpus: 16+, memory: 128GB+, disk: 1TB}
        num_nodes: 2..4
        ranks_per_node: 4
        queue: research
        priority: high
        workdir: src
        envs: {LR: 3e-4, EPOCHS: 03, NAME: "yes"}
        setup: pip install -e .
        run: |
          python train.py
        checkpoint: {dir: ckpt, every: 10m}
        retry: {max: 3, on_events: [interruption]}
        max_duration: 12h
        grace: 1m
        after: [prepare-data]
        """
    assert parse(textwrap.dedent(text)) == (
        WorkloadSpec(
            name="pretrain",
            kind=WorkloadKind.TRAIN,
            run="python train.py\n",
            setup="pip install -e .",
            workdir="/home/u/src",
            envs={"LR": "3e-4", "EPOCHS": "03", "NAME": "yes"},
            resources=ResourceRequest(
                accelerators=(AcceleratorRequest(kind="H100", count=Range.exactly(8)),),
                cpu_milli=Range.at_least(16_000),
                memory_bytes=Range.at_least(128 * 10**9),
                disk_bytes=10**12,
            ),
            num_nodes=Range(minimum=2, maximum=4),
            ranks_per_node=4,
            queue="research",  # type: ignore[arg-type]
            priority=100,
            after=("prepare-data",),
            retry=RetryPolicy(maximum=3, on_events=(RetryEvent.INTERRUPTION,)),
            checkpoint=CheckpointPolicy(directory="/home/u/src/ckpt", every_s=600.0),
            max_duration_s=43_200.0,
            grace_s=60.0,
        ),
    )


def test_every_key_of_a_service() -> None:
    text = """\
        name: chat
        type: service
        replicas: 2
        port: 8000
        model: org/tiny:3
        engine: transformers
        engine_args: [--max-batch, 8]
        readiness: {path: /ready, interval: 500ms, timeout: 1m, failures: 5}
        concurrency: 16
        hedge_after: 1500ms
        price: {input: 0.5, cached_input: 0, output: 2}
        overload: {max_wait: 10s, after: 500ms, max_tokens: 64, model: smaller}
        """
    (spec,) = parse(textwrap.dedent(text))
    assert spec.service == ServiceSpec(
        port=8000,
        model="org/tiny:3",
        engine="transformers",
        engine_args=("--max-batch", "8"),
        served_name="org/tiny",
        readiness=ReadinessProbe(path="/ready", interval_s=0.5, timeout_s=60.0, failures=5),
        concurrency=16,
        hedge_after_s=1.5,
        price=Price(input=0.5, cached_input=0.0, output=2.0),
        overload=Overload(max_wait_s=10.0, brown_out=BrownOut(after_s=0.5, max_tokens=64, model="smaller")),
    )
    assert (spec.replicas, spec.retry.maximum) == (2, None)


def test_defaults_by_kind() -> None:
    (task,), (service,) = parse(TASK), parse(SERVICE)
    assert task.retry.maximum == 0
    assert service.retry.maximum is None
    assert service.service == ServiceSpec()
    assert parse(SERVICE + "retry: {max: 2}\n")[0].retry.maximum == 2


def test_several_documents_are_several_workloads() -> None:
    assert [spec.name for spec in parse("name: a\nrun: x\n---\nname: b\nrun: y\n---\n")] == ["a", "b"]


def test_paths() -> None:
    assert parse(TASK + "workdir: .\n")[0].workdir == "/home/u"
    assert parse(TASK + "workdir: ../v\n")[0].workdir == "/home/v"
    assert parse(TASK + "workdir: /data\n")[0].workdir == "/data"
    assert parse(TASK)[0].workdir == ""
    train = "name: x\ntype: train\nrun: a\ncheckpoint: {dir: c}\n"
    assert parse(train)[0].checkpoint.directory == "/home/u/c"


def test_bytes_and_anchors_and_a_byte_order_mark() -> None:
    assert parse(b"\xef\xbb\xbfname: &n x\nrun: *n\n")[0].run == "x"


def test_from_plain_is_the_same_as_from_a_file() -> None:
    plain = {"name": "x", "run": "echo", "num_nodes": 2, "resources": {"cpus": 0.5, "memory": None}, "workdir": "w"}
    expected = parse("name: x\nrun: echo\nnum_nodes: 2\nresources: {cpus: 0.5}\nworkdir: w\n")[0]
    assert spec_from_plain(plain, directory="/home/u") == expected
    assert spec_from_plain({"name": "x", "run": "echo"}) == replace(expected, **_defaults())
    with pytest.raises(InvalidSpec) as caught:
        spec_from_plain({"name": "x", "run": "echo", "gpu": 1})
    assert caught.value.where == Where(key="gpu")
    with pytest.raises(InvalidSpec):
        spec_from_plain({"name": "x", "run": "echo"}, directory="relative")


def _defaults() -> dict[str, object]:
    bare = WorkloadSpec(name="x", kind=WorkloadKind.TASK)
    return {"num_nodes": bare.num_nodes, "resources": bare.resources, "workdir": ""}


def test_volumes_are_names_or_folders() -> None:
    text = "name: x\nrun: a\nvolumes:\n  /b: ./cache\n  /a: corpus\n  /c: {volume: m, read_only: true, worth: 3}\n"
    (spec,) = parse_workload(text, file="job.yaml", directory="/work")
    assert spec.volumes == (
        VolumeUse(target="/a", volume="corpus"),
        VolumeUse(target="/b", folder="/work/cache"),
        VolumeUse(target="/c", volume="m", read_only=True, worth=3),
    )


@pytest.mark.parametrize(
    ("text", "line", "key", "said"),
    [
        ("", 0, "", "there is no workload in it."),
        ("name: x\nrun: a\nvolumes:\n  data: corpus\n", 4, "volumes.data", "does not begin at the root."),
        ("name: x\nrun: a\nvolumes:\n  /data/: corpus\n", 4, "volumes./data/", "Write /data."),
        ("name: x\nrun: a\nvolumes:\n  /proc/x: corpus\n", 4, "volumes./proc/x", "no job can do without"),
        ("name: x\nrun: a\nvolumes:\n  /: corpus\n", 4, "volumes./", "no job can do without"),
        ("name: x\nrun: a\nvolumes:\n  /data: Corpus\n", 4, "volumes./data.volume", "small letters"),
        ("name: x\nrun: a\nvolumes:\n  /data: ~/corpus\n", 4, "volumes./data.folder", "'~' is not filled in"),
        ("name: x\nrun: a\nvolumes:\n  /data: {name: a}\n", 4, "volumes./data.name", "is not a key"),
        ("name: x\nrun: a\nvolumes:\n  /data: {read_only: true}\n", 4, "volumes./data", "either a volume or a folder"),
        ("name: x\nrun: a\nvolumes: [corpus]\n", 3, "volumes", "a list"),
        ("# only a comment\n---\n", 0, "", "there is no workload in it."),
        ("- a\n", 1, "", "a workload is a map of keys, not a list."),
        ("hello", 1, "", "a workload is a map of keys, not the text 'hello'."),
        ("name: x\nrun: a: b\n", 2, "", "is not valid YAML: mapping values are not allowed here."),
        ("name: x\n\trun: a\n", 2, "", "Indent with spaces, not with tabs."),
        ("name: x\nrun: [\n", 3, "", "is not valid YAML"),
        ("\x00\x01\x02", 0, "", "is not valid YAML"),
        (b"\xff\xfe\x00PNG", 1, "", "is not a text file (not UTF-8)."),
        ("[" * 3000, 0, "", "is nested too deeply."),
        ("a: &a [*a]\n", 1, "a", "is nested too deeply, or refers to itself."),
        (TASK + 'envs: {A: "\\0"}\n', 3, "envs.A", "has characters in it that are not text."),
        (TASK + "? [a]\n: b\n", 3, "", "has a key that is not plain text."),
        (TASK + "<<: {queue: q}\n", 3, "", "'<<', which is not supported yet."),
        (TASK + "setup: !!python/object:os.system x\n", 3, "setup", "has the tag"),
        ("run: echo\n", 1, "name", "is missing."),
        ("name: x\n", 1, "run", "is missing: there is nothing to run."),
        (TASK + "setup:\n", 3, "setup", "has no value."),
        (TASK + "name: y\n", 3, "name", "is given twice; the first time in line 1."),
        (
            "name: My Job\nrun: a\n",
            1,
            "name",
            "is not a name: small letters, digits and '-', at most 63, '-' not first. Did you mean my-job?",
        ),
        ("name: 7\nrun: a\n", 1, "name", 'has to be text, not the number 7. Put it in quotes: "7".'),
        (TASK + "type: trian\n", 3, "type", "Did you mean train?"),
        (TASK + "type: dev\n", 3, "type", "'dev' is not supported yet."),
        (TASK + "resorces: {cpus: 1}\n", 3, "resorces", "Did you mean resources?"),
        (TASK + "Resources: {cpus: 1}\n", 3, "Resources", "Did you mean resources?"),
        (TASK + "gpus: 8\n", 3, "gpus", "Did you mean resources.accelerators?"),
        (TASK + "cpus: 8\n", 3, "cpus", "Did you mean resources.cpus?"),
        (TASK + "resources:\n  cpu: 8\n", 4, "resources.cpu", "Did you mean cpus?"),
        (TASK + "resources: 8\n", 3, "resources", "has to be a map of keys, not the number 8."),
        (TASK + "resources: {memory: 128gigs}\n", 3, "resources.memory", "unit 'gigs' is not known; did you mean GB?"),
        (TASK + "resources: {memory: 128}\n", 3, "resources.memory", "'128' has no unit. Did you mean 128GB?"),
        (
            TASK + "resources: {accelerators: H100:1.5}\n",
            3,
            "resources.accelerators",
            "only one accelerator can be shared",
        ),
        (TASK + "resources: {accelerators: 'H100,A100'}\n", 3, "resources.accelerators", "write H100 | A100."),
        (TASK + "resources: {accelerators: H100|H100}\n", 3, "resources.accelerators", "twice"),
        (TASK + "resources: {power: 3}\n", 3, "resources.power", "3W, 3kW or 3MW"),
        (
            TASK + "resources:\n  accelerators: H100\n  throughput: {H100: 0}\n",
            5,
            "resources.throughput.H100",
            "a number above 0",
        ),
        (
            TASK + "resources:\n  accelerators: H100\n  throughput: {A100: 2}\n",
            5,
            "resources.throughput.A100",
            "not a kind that it asks for. It asks for H100.",
        ),
        (TASK + "resources:\n  throughput: {A100: 2}\n", 4, "resources.throughput.A100", "for no accelerators"),
        (TASK + "resources:\n  counted: {fpga: 0}\n", 4, "resources.counted.fpga", "between 1 and"),
        (TASK + "selector: {zone: [a, '!b']}\n", 3, "selector.zone", "mixes values"),
        (TASK + "selector: {'a b': c}\n", 3, "selector.a b", "is not a label"),
        (TASK + "selector: {zone: []}\n", 3, "selector.zone", "is empty"),
        (TASK + "tolerations: ['a=b=c']\n", 3, "tolerations[0]", "is not a taint"),
        (TASK + "topology: {tree: fabric}\n", 3, "topology.level", "is missing"),
        (TASK + "topology: {level: leaf, mode: requried}\n", 3, "topology.mode", "Did you mean required?"),
        (TASK + "anti_affinity: {workloads: [db], level: rack}\n", 3, "anti_affinity.tree", "both a tree and a level"),
        (TASK + "anti_affinity: []\n", 3, "anti_affinity", "is empty"),
        (TASK + "prefer: [{worth: 2}]\n", 3, "prefer[0].labels", "is missing"),
        (TASK + "node_selector: {a: b}\n", 3, "node_selector", "Did you mean selector?"),
        (TASK + "resources: {accelerators: [H100]}\n", 3, "resources.accelerators", "not a list. Write H100:8."),
        (TASK + "resources: {accelerators: {H100: 8}}\n", 3, "resources.accelerators", "not a map. Write H100:8."),
        (TASK + "image: ubuntu\n", 3, "image", "is not supported yet."),
        (TASK + "secrets: []\n", 3, "secrets", "is empty."),
        (TASK + "secrets: {file: [A]}\n", 3, "secrets.file", "is not a key that is known here."),
        (TASK + "retry: {max: 1, duration: 1h}\n", 3, "retry.duration", "is not supported yet."),
        (TASK + "retry: {on_events: [error]}\n", 3, "retry.max", "is missing"),
        (TASK + "retry: {max: -1}\n", 3, "retry.max", "has to be between 0 and"),
        (TASK + "retry: {max: many}\n", 3, "retry.max", "has to be a whole number, not the text 'many'."),
        (
            TASK + "retry: {max: 1, on_events: [crash]}\n",
            3,
            "retry.on_events[0]",
            "has to be one of error, interruption",
        ),
        (TASK + "after: first\n", 3, "after", "has to be a list, not the text 'first'. Write [first]."),
        (TASK + "after: [A]\n", 3, "after[0]", "Did you mean a?"),
        (TASK + "envs: {A-B: 1}\n", 3, "envs.A-B", "is not a name of a variable."),
        (TASK + "envs: {A: true}\n", 3, "envs.A", 'Put it in quotes: "true".'),
        (TASK + "envs: {A: [1]}\n", 3, "envs.A", "has to be text, not a list."),
        (TASK + "envs: {AMPACITY_X: 1}\n", 3, "envs.AMPACITY_X", "is set by Ampacity itself."),
        (TASK + "priority: urgent\n", 3, "priority", "Write low, normal, high or a number."),
        (TASK + "priority: 5000\n", 3, "priority", "has to be between -1000 and 1000, not 5000."),
        (TASK + "workdir: ~/src\n", 3, "workdir", "'~' is not filled in."),
        (TASK + "max_duration: 600\n", 3, "max_duration", "'600' has no unit. Did you mean 600s?"),
        (TASK + "max_duration: 0s\n", 3, "max_duration", "is no time at all."),
        (TASK + "num_nodes: 2..4\n", 3, "num_nodes", "only a train is elastic; this is a task."),
        (TASK + "ranks_per_node: 2\n", 3, "ranks_per_node", "goes with 'type: train' only; this is a task."),
        (TASK + "preemptible: yes\n", 3, "preemptible", "has to be true or false, not the text 'yes'."),
        (TASK + "yield_to: []\n", 3, "yield_to", "is empty."),
        (
            TASK + "yield_to: [trian]\n",
            3,
            "yield_to[0]",
            "has to be one of task, train, service, data, not the text 'trian'.",
        ),
        (TASK + "yield_to: [train]\noutrank: [data]\n", 4, "outrank", "does not go with 'yield_to'."),
        (TASK + "yield_to: [train]\npreemptible: false\n", 3, "yield_to", "does not go with 'preemptible: false'."),
        (TASK + "keep_replicas: 1\n", 3, "keep_replicas", "goes with 'type: service' only; this is a task."),
        (
            "name: x\ntype: service\nrun: a\nkeep_replicas: 1\n",
            4,
            "keep_replicas",
            "says nothing: it gives no place to others.",
        ),
        (TASK + "checkpoint: {every: 1m}\n", 3, "checkpoint", "goes with 'type: train' only; this is a task."),
        (
            "name: x\ntype: train\nrun: a\nreplicas: 2\n",
            4,
            "replicas",
            "goes with 'type: service' only; this is a train.",
        ),
        ("name: x\ntype: service\n", 1, "", "a service needs 'run' or 'model'."),
        (SERVICE + "engine: e\n", 4, "engine", "an engine needs a model."),
        (SERVICE + "model: m\nengine: e\n", 5, "engine", "either 'run' or the engine is the server."),
        (SERVICE + "engine_args: [a]\n", 4, "engine_args", "here 'run' is the server."),
        (SERVICE + "num_nodes: 2\n", 4, "num_nodes", "is not supported yet."),
        (SERVICE + "port: 70000\n", 4, "port", "has to be between 0 and 65535, not 70000."),
        (SERVICE + "readiness: {path: health}\n", 4, "readiness.path", "Write it as /health."),
        (SERVICE + "price: {input: -1}\n", 4, "price.input", "has to be a number such as 0.5"),
        (SERVICE + "price: {input: .nan}\n", 4, "price.input", "has to be a number such as 0.5"),
        (SERVICE + "overload: {after: 2s}\n", 4, "overload.after", "has nothing to do."),
        (SERVICE + "overload: {max_tokens: 9}\n", 4, "overload.after", "from which wait on?"),
        (SERVICE + "hedge_after: 0s\n", 4, "hedge_after", "is no time at all."),
        (SERVICE + "overload: {max_wait: 0s}\n", 4, "overload.max_wait", "is no time at all."),
        (SERVICE + "served_name: a\noverload: {after: 1s, model: a}\n", 5, "overload.model", "this model itself"),
        (
            "name: a\nrun: x\n---\nname: a\nrun: y\n",
            4,
            "name",
            "'a' is the name of another workload of this file, in line 1.",
        ),
    ],
)
def test_a_mistake_says_where_and_what_to_write(text: str | bytes, line: int, key: str, said: str) -> None:
    error = mistake(text)
    assert error.where == Where(file="w.yaml", line=line, key=key)
    assert said in str(error)
    assert error.hint or "between" in error.message or "whole number" in error.message or "text" in error.message


def test_all_mistakes_of_a_file_are_said_at_once_the_topmost_first() -> None:
    error = mistake("name: x\nrun: 5\ngpus: 3\n---\nname: y\ntype: service\n")
    assert str(error).splitlines() == [
        'w.yaml:2: run: has to be text, not the number 5. Put it in quotes: "5".',
        "Also wrong:",
        "w.yaml:3: gpus: is not a key that is known here. Did you mean resources.accelerators?",
        "w.yaml:5: a service needs 'run' or 'model'. Say what to run, or which model to serve.",
    ]


def test_aliases_cannot_blow_up() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    assert "nested too deeply" in str(mistake(bomb))
