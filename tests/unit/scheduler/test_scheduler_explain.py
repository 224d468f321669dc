"""The sentences: their arithmetic and what they propose."""

from __future__ import annotations

from dataclasses import replace

from ampacity.model.node import Health, Node, NodeCondition
from ampacity.model.plan import Wait, WaitCode
from ampacity.model.resources import Range
from ampacity.model.workload import WorkloadKind, WorkloadSpec
from ampacity.scheduler import build, could_ever_fit, plan
from scheduler_cluster import GIB, node, request, rows_of, running, workload


def wait(*parts: object) -> Wait:
    made = plan(build(rows_of(*parts)), 100.0)  # type: ignore[arg-type]
    return made.waits[-1]


def spec(accelerators: str = "", *, cpus: float = 1, nodes: int = 1, memory_bytes: int = 0) -> WorkloadSpec:
    resources = request(accelerators, cpus=cpus, memory_bytes=memory_bytes)
    return WorkloadSpec(
        name="x", kind=WorkloadKind.TASK, run="true", resources=resources, num_nodes=Range.exactly(nodes)
    )


def test_whole_accelerators() -> None:
    n1, n2 = node("n1", devices=4), node("n2", devices=4)
    found = wait(
        n1,
        n2,
        running("w1", n1, request("H100:4")),
        running("w2", n2, request("H100:3")),
        workload("w9", request("H100:2")),
    )
    assert found.code is WaitCode.INSUFFICIENT
    assert found.text == "needs 2 H100 on one node; the most free on one node is 1 of 4 on n2, 3 held by name-w2 (w2)."
    assert found.change == "free 1 H100 on n2; or ask for 1 H100; or raise its priority to 1"


def test_a_share() -> None:
    n1 = node("n1", devices=1)
    found = wait(n1, running("w1", n1, request("H100:0.75")), workload("w9", request("H100:0.5")))
    assert (
        found.text
        == "needs 0.5 H100 on one node; the most left of one device is 0.25, on n1, 0.75 held by name-w1 (w1)."
    )
    assert found.change == "free 0.25 H100 of one device on n1; or ask for 0.25 H100; or raise its priority to 1"


def test_cpus_and_memory() -> None:
    n1 = node("n1", cpus=8, memory_bytes=16 * 10**9)
    held = running("w1", n1, request(cpus=6, memory_bytes=12 * 10**9))
    cpus = wait(n1, held, workload("w9", request(cpus=4)))
    assert cpus.text == "needs 4 CPUs on one node; the most free on one node is 2 of 8 on n1, 6 held by name-w1 (w1)."
    assert cpus.change == "free 2 CPUs on n1; or ask for 2 CPUs; or raise its priority to 1"
    both = wait(n1, held, workload("w9", request(cpus=4, memory_bytes=5 * 10**9)))
    assert both.text.startswith(
        "needs 4 CPUs and 5GB of memory on one node; the nearest is n1 with 2 of 8 CPUs and 4GB of 16GB of memory free"
    )
    assert both.change == "free 2 CPUs and 1GB of memory on n1; or raise its priority to 1"


def test_a_gang() -> None:
    nodes = [node(f"n{i}", devices=8) for i in range(1, 4)]
    held = running("w1", nodes[2], request("H100:3"))
    found = wait(*nodes, held, workload("w9", request("H100:8"), num_nodes=Range.exactly(3)))
    assert found.text == (
        "needs 3 nodes with 8 H100 and 1 CPU each; 2 nodes have that free now (n1 and n2); "
        "the nearest is n3 with 5 of 8 free, 3 held by name-w1 (w1)."
    )
    assert found.change == "free 3 H100 on n3; or ask for 5 H100; or ask for 2 nodes; or raise its priority to 1"


def test_nodes_that_take_no_work() -> None:
    n1, n2 = node("n1", devices=1), node("n2", devices=1, condition=NodeCondition.CORDONED)
    found = wait(n1, n2, running("w1", n1, request("H100:1")), workload("w9", request("H100:1")))
    assert found.text.endswith("; n2 is cordoned.")
    assert found.change == "free 1 H100 on n1; or uncordon n2; or raise its priority to 1"
    alone = wait(n2, workload("w9", request("H100:1")))
    assert (alone.code, alone.text, alone.change) == (
        WaitCode.NO_NODES,
        "no node takes work: n2 is cordoned.",
        "uncordon n2",
    )
    silent = wait(node("n3"), node("n2", devices=1, condition=NodeCondition.UNKNOWN), workload("w9", request("H100:1")))
    assert silent.code is WaitCode.INSUFFICIENT
    assert silent.change == "bring back n2"


def test_there_is_no_node() -> None:
    assert wait(workload("w9")).code is WaitCode.NO_NODES


def test_what_this_very_plan_gives_out_counts_as_held() -> None:
    found = wait(
        node("n1", devices=1), workload("w1", request("H100:1")), workload("w9", request("H100:1"), created_at=1)
    )
    assert found.text.endswith("0 of 1 on n1, 1 held by name-w1 (w1).")


def test_impossible_says_what_there_is() -> None:
    nodes = [node("n1", devices=4, kind="A100"), node("n2", cpus=128)]
    refusal = could_ever_fit(spec("H100:8"), nodes)
    assert refusal is not None
    assert refusal.message == "asks for 8 H100; the largest node has 0."
    assert refusal.hint == "The nodes have 4 A100 on n1 and no accelerators on n2."
    more = could_ever_fit(spec("A100:8"), nodes)
    assert more is not None
    assert more.message == "asks for 8 A100; the largest node has 4."
    assert more.hint.startswith("Ask for at most 4 A100. The nodes have")


def test_impossible_in_other_ways() -> None:
    nodes = [node("n1", devices=4, cpus=8), node("n2", cpus=128, memory_bytes=GIB)]
    gang = could_ever_fit(spec("H100:4", nodes=2), nodes)
    assert gang is not None
    assert gang.message == "asks for 2 nodes with 4 H100 and 1 CPU each; only 1 node has that."
    assert gang.hint == "Ask for 1 node (n1), or for less on each."
    cpus = could_ever_fit(spec(cpus=256), nodes)
    assert cpus is not None
    assert cpus.message == "asks for 256 CPUs; the largest node has 128."
    assert cpus.hint.endswith("128 CPUs and 1.1GB of memory on n2 and 8 CPUs and 274.9GB of memory on n1.")
    together = could_ever_fit(spec("H100:1", cpus=64), nodes)
    assert together is not None
    assert "no node has all of it" in together.message
    memory = could_ever_fit(spec(memory_bytes=2**50), nodes)
    assert memory is not None
    assert memory.message == "asks for 1PiB of memory; the largest node has 274.9GB."
    share = could_ever_fit(spec("L4:0.5"), nodes)
    assert share is not None
    assert share.message == "asks for 0.5 L4; no node has one."


def test_nothing_is_refused_without_nodes_or_when_it_fits() -> None:
    assert could_ever_fit(spec("H100:8"), []) is None
    assert could_ever_fit(spec("H100:8"), [node("n1", devices=8, condition=NodeCondition.CORDONED)]) is None


def broken(on: Node, *indices: int) -> Node:
    devices = tuple(
        replace(device, health=Health.FAILED) if device.index in indices else device for device in on.devices
    )
    return replace(on, devices=devices)


def test_what_would_fit_if_all_devices_worked_is_not_refused() -> None:
    assert could_ever_fit(spec("H100:8"), [broken(node("n1", devices=8), *range(8))]) is None
    refusal = could_ever_fit(spec("H100:9"), [broken(node("n1", devices=8), 3)])
    assert refusal is not None
    assert refusal.message == "asks for 9 H100; the largest node has 8."
    assert refusal.hint == "Ask for at most 8 H100. The nodes have 8 H100 on n1."


def test_devices_that_have_failed() -> None:
    n1, n2 = (broken(node(name, devices=4), *range(4)) for name in ("n1", "n2"))
    found = wait(n1, n2, node("n3"), workload("w9", request("H100:2")))
    assert found.code is WaitCode.INSUFFICIENT
    assert found.text == "needs 2 H100 and 1 CPU on one node; all 8 H100 of the cluster are failed."
    assert found.change == "mend 2 H100 on n1"
    share = wait(broken(node("n1", devices=1), 0), workload("w9", request("H100:0.5")))
    assert share.text == "needs 0.5 H100 and 1 CPU on one node; the only H100 of the cluster is failed."
    assert share.change == "mend 1 H100 on n1"


def test_too_few_devices_that_work() -> None:
    n1, n2 = broken(node("n1", devices=8), 0, 5), node("n2", devices=8)
    found = wait(n1, workload("w9", request("H100:8")))
    assert found.text == (
        "needs 8 H100 and 1 CPU on one node; 2 of the 8 H100 of the cluster are failed, and no node has enough "
        "without them."
    )
    assert found.change == "mend 2 H100 on n1; or ask for 6 H100"
    gang = wait(n1, n2, workload("w9", request("H100:8"), num_nodes=Range.exactly(2)))
    assert gang.text == (
        "needs 2 nodes with 8 H100 and 1 CPU each; 2 of the 16 H100 of the cluster are failed, and only n2 has enough "
        "without them."
    )
    assert gang.change == "mend 2 H100 on n1; or ask for 6 H100"
