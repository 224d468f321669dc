"""Specs back to keys, and the check of specs that clients send as they are."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from ampacity.model.errors import InvalidSpec
from ampacity.model.resources import AcceleratorRequest, Counted, KindRate, Range, ResourceRequest
from ampacity.model.rules import ApartRule, LabelRule, PlacementRules, Preference, TopologyMode, TopologyRule
from ampacity.model.service_terms import BrownOut, Overload, Price, Routing
from ampacity.model.volume import VolumeUse
from ampacity.model.workload import (
    ReadinessProbe,
    RetryPolicy,
    ServiceSpec,
    WorkloadKind,
    WorkloadSpec,
)
from ampacity.model.workload_file import checked_spec, plain_from_spec

GOOD = WorkloadSpec(name="x", kind=WorkloadKind.TASK, run="echo")
TRAIN = replace(GOOD, kind=WorkloadKind.TRAIN)
SERVICE = replace(GOOD, kind=WorkloadKind.SERVICE, retry=RetryPolicy(maximum=None), service=ServiceSpec())
H100 = AcceleratorRequest(kind="H100", count=Range.exactly(1))


def asking(accelerators: AcceleratorRequest) -> WorkloadSpec:
    return replace(GOOD, resources=ResourceRequest(accelerators=(accelerators,)))


def test_the_keys_of_a_spec() -> None:
    spec = replace(asking(replace(H100, milli=500)), max_duration_s=90.0, workdir="/w")
    assert plain_from_spec(spec) == {
        "name": "x",
        "type": "task",
        "run": "echo",
        "workdir": "/w",
        "resources": {"accelerators": "H100:0.5", "cpus": "1+"},
        "queue": "default",
        "max_duration": "1m30s",
        "grace": "10s",
    } | {"priority": 0}


def test_a_right_spec_stays_as_it_is() -> None:
    for spec in (GOOD, SERVICE, asking(H100), replace(TRAIN, num_nodes=Range.at_least(2), ranks_per_node=4)):
        assert checked_spec(spec) == spec


def test_rules_come_back_as_they_were() -> None:
    rules = PlacementRules(
        selector=(
            LabelRule(key="disk", values=("nvme", "ssd")),
            LabelRule(key="spot", values=("*",), negated=True),
        ),
        prefer=(Preference(labels=(LabelRule(key="cache/x", values=("*",)),), worth=3),),
        apart=ApartRule(workloads=("db", "x"), tree="site", level="rack"),
        tolerations=("*",),
        topology=TopologyRule(tree="fabric", level="leaf", mode=TopologyMode.REQUIRED),
    )
    resources = ResourceRequest(
        accelerators=(H100, replace(H100, kind="A100", count=Range.exactly(2))),
        counted=(Counted(name="fpga", amount=2),),
        licences=(Counted(name="matlab", amount=1),),
        power_w=1500,
        throughput=(KindRate(kind="A100", steps_per_s=1.25), KindRate(kind="H100", steps_per_s=3.0)),
    )
    spec = replace(GOOD, rules=rules, resources=resources)
    assert checked_spec(spec) == spec
    assert plain_from_spec(spec)["resources"]["accelerators"] == "H100:1 | A100:2"


def test_volumes_come_back_as_they_were() -> None:
    uses = (
        VolumeUse(target="/a", volume="corpus"),
        VolumeUse(target="/b", volume="models", read_only=True, worth=0),
        VolumeUse(target="/c", folder="/srv/cache"),
    )
    spec = replace(GOOD, volumes=uses)
    assert checked_spec(spec) == spec


def test_what_a_service_says_comes_back_as_it_was() -> None:
    service = ServiceSpec(
        port=80,
        model="tiny:1",
        engine="transformers",
        engine_args=("--fast",),
        served_name="writer",
        readiness=ReadinessProbe(path="/ready", interval_s=2.0, timeout_s=60.0, failures=5),
        concurrency=8,
        routing=Routing.PREFIX,
        hedge_after_s=2.5,
        price=Price(input=0.5, output=1.5, cached_input=0.1),
        overload=Overload(max_wait_s=10.0, brown_out=BrownOut(after_s=2.0, max_tokens=256, model="small")),
    )
    assert all(getattr(service, each.name) != getattr(ServiceSpec(), each.name) for each in fields(ServiceSpec))
    spec = replace(SERVICE, run="", service=service)
    assert checked_spec(spec) == spec


def test_defaults_are_filled_in() -> None:
    bare = replace(SERVICE, service=None)
    assert checked_spec(bare) == SERVICE


@pytest.mark.parametrize(
    ("spec", "key"),
    [
        (replace(GOOD, name="Not a name"), "name"),
        (replace(GOOD, run=""), "run"),
        (replace(GOOD, kind=WorkloadKind.DEV), "type"),
        (replace(GOOD, workdir="relative"), "workdir"),
        (replace(GOOD, num_nodes=Range.exactly(0)), "num_nodes"),
        (replace(GOOD, num_nodes=Range(minimum=2, maximum=4)), "num_nodes"),
        (replace(GOOD, replicas=3), "replicas"),
        (replace(SERVICE, replicas=0), "replicas"),
        (replace(GOOD, ranks_per_node=2), "ranks_per_node"),
        (replace(GOOD, priority=10**6), "priority"),
        (replace(GOOD, grace_s=-1.0), "grace"),
        (replace(GOOD, grace_s=float("inf")), "grace"),
        (replace(GOOD, max_duration_s=0.0), "max_duration"),
        (replace(GOOD, retry=RetryPolicy(maximum=None)), "retry.max"),
        (replace(GOOD, envs={"AMPACITY_MEMBER": "x"}), "envs.AMPACITY_MEMBER"),
        (replace(GOOD, service=ServiceSpec(port=80)), "port"),
        (replace(SERVICE, service=ServiceSpec(engine="e")), "engine"),
        (replace(SERVICE, service=ServiceSpec(readiness=ReadinessProbe(path="x"))), "readiness.path"),
        (replace(GOOD, resources=ResourceRequest(cpu_milli=Range.exactly(-1000))), "resources.cpus"),
        (replace(GOOD, resources=ResourceRequest(cpu_milli=Range(minimum=2000, maximum=1000))), "resources.cpus"),
        (replace(GOOD, resources=ResourceRequest(disk_bytes=-1)), "resources.disk"),
        (replace(GOOD, volumes=(VolumeUse(target="/a"),)), "volumes./a"),
        (replace(GOOD, volumes=(VolumeUse(target="/a", volume="b", folder="/c"),)), "volumes./a"),
        (replace(GOOD, volumes=(VolumeUse(target="/a", folder="/c", worth=1),)), "volumes./a.worth"),
        (asking(replace(H100, milli=0)), "resources.accelerators"),
        (asking(replace(H100, milli=2000)), "resources"),
        (asking(replace(H100, milli=500, count=Range.exactly(2))), "resources"),
        (replace(GOOD, resources=ResourceRequest(accelerators=(H100, H100))), "resources.accelerators"),
    ],
)
def test_a_wrong_spec_names_the_key(spec: WorkloadSpec, key: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        checked_spec(spec)
    assert caught.value.where.key == key
