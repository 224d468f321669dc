"""Nodes that come, change, fall silent, are given up, and return."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from control_bench import Bench, gang, node, service, task

from ampacity.drivers.local.declare import parse_declaration
from ampacity.model.attempt import AttemptPhase, CauseKind
from ampacity.model.errors import Conflict, ImpossibleRequest
from ampacity.model.event import EventKind
from ampacity.model.ids import NodeId
from ampacity.model.node import Health, Node, NodeCondition
from ampacity.model.resources import AcceleratorRequest, Range, ResourceRequest
from ampacity.model.workload import RetryEvent, RetryPolicy, Wish, WorkloadPhase

AGAIN = RetryPolicy(maximum=3)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def row(bench: Bench, name: str) -> Node:
    return bench.store.rows().nodes[name]


def node_events(bench: Bench, name: str) -> list[str]:
    events = bench.store.events(limit=10_000)
    return [event.draft.text for event in events if event.draft.node == name and event.draft.attempt is None]


def test_nodes_are_written_when_they_come_and_when_they_change_alone(bench: Bench) -> None:
    bench.step()
    assert node_events(bench, "n1") == ["node n1 is there"]
    for _ in range(3):
        bench.pass_time(10.0)
    assert node_events(bench, "n1") == ["node n1 is there"]
    bench.driver.add_node(replace(node("n1"), labels={"rack": "r1"}))
    bench.driver.add_node(node("n3"))
    bench.pass_time(10.0)
    assert node_events(bench, "n1") == ["node n1 is there", "node n1 changed"]
    assert row(bench, "n3").registered_at == bench.now
    assert row(bench, "n1").registered_at == 1000.0


def test_a_device_that_fails_gets_nothing_new_until_it_is_well_again(bench: Bench) -> None:
    whole = parse_declaration("gpu:cpus=8,memory=32GB,H100=2")
    one_gpu = ResourceRequest(accelerators=(AcceleratorRequest(kind="H100", count=Range.exactly(1)),))
    first, second = whole.devices
    sick = replace(whole, devices=(first, replace(second, health=Health.FAILED)))
    bench.driver.add_node(whole)
    bench.step()
    bench.driver.add_node(sick)
    bench.pass_time(10.0)
    runs, waits = (bench.submit(task(name, resources=one_gpu)) for name in ("a", "b"))
    bench.pass_time(10.0)
    (share,) = bench.last(runs).members[0].allocation.devices
    assert share.device == first.id
    assert bench.attempts(waits) == []
    bench.driver.add_node(whole)
    bench.pass_time(10.0)
    assert bench.last(waits).phase is AttemptPhase.RUNNING
    bench.driver.add_node(sick)
    bench.pass_time(10.0)
    assert bench.last(waits).phase is AttemptPhase.RUNNING, "what runs there is not ended for it"
    failed = "node gpu changed; device gpu/1 has failed, and nothing is placed on it"
    assert node_events(bench, "gpu") == [
        "node gpu is there",
        failed,
        "node gpu changed; device gpu/1 is ok",
        failed,
    ]
    bench.check()


def test_what_asks_for_devices_that_have_all_failed_waits_for_them_and_more_than_there_are_is_refused(
    bench: Bench,
) -> None:
    whole = parse_declaration("gpu:cpus=8,memory=32GB,H100=2")
    sick = replace(whole, devices=tuple(replace(device, health=Health.FAILED) for device in whole.devices))
    bench.driver.add_node(sick)
    bench.step()

    def gpus(count: int) -> ResourceRequest:
        return ResourceRequest(accelerators=(AcceleratorRequest(kind="H100", count=Range.exactly(count)),))

    with pytest.raises(ImpossibleRequest, match="asks for 3 H100; the largest node has 2"):
        bench.submit(task("more", resources=gpus(3)))
    ident = bench.submit(task("waits", resources=gpus(2)))
    bench.pass_time(10.0)
    (wait,) = bench.control.plan.waits
    assert "all 2 H100 of the cluster are failed" in wait.text
    bench.driver.add_node(whole)
    bench.pass_time(10.0)
    assert bench.last(ident).phase is AttemptPhase.RUNNING
    bench.check()


def test_a_silent_node_is_unknown_and_its_attempts_live_until_the_stated_time(bench: Bench) -> None:
    ident = bench.submit(task(retry=AGAIN))
    home = bench.last(ident).members[0].node
    bench.driver.silence(home)
    bench.pass_time(6.0)
    assert row(bench, home).condition is NodeCondition.UNKNOWN
    assert row(bench, home).unknown_since == bench.now
    assert bench.last(ident).phase is AttemptPhase.RUNNING
    bench.pass_time(59.0)
    assert bench.last(ident).phase is AttemptPhase.RUNNING
    bench.pass_time(1.0)
    first, second = bench.attempts(ident)
    assert first.phase is AttemptPhase.LOST
    assert first.cause is not None
    assert first.cause.kind is CauseKind.NODE_LOST
    assert second.members[0].node != home
    assert second.phase is AttemptPhase.RUNNING
    bench.check()


def test_a_node_that_returns_in_time_keeps_its_attempts_and_their_facts(bench: Bench) -> None:
    ident = bench.submit(task())
    key = bench.last(ident).key(0)
    home = bench.last(ident).members[0].node
    bench.driver.silence(home)
    bench.pass_time(6.0)
    bench.driver.finish(key)
    bench.driver.return_(home)
    bench.pass_time(6.0)
    assert row(bench, home).condition is NodeCondition.READY
    assert bench.workload(ident).phase is WorkloadPhase.SUCCEEDED
    assert len(bench.attempts(ident)) == 1


def test_a_returned_node_is_used_only_after_what_it_still_runs_was_told_to_stop(bench: Bench) -> None:
    ident = bench.submit(task(retry=RetryPolicy(maximum=0)))
    key = bench.last(ident).key(0)
    home = bench.last(ident).members[0].node
    bench.driver.silence(home)
    bench.pass_time(6.0)
    bench.pass_time(60.0)
    assert bench.workload(ident).phase is WorkloadPhase.FAILED
    assert bench.control.mirror.rows.workloads == {}
    bench.begin()  # what has to be fenced is found again after a restart
    bench.driver.fail("ensure_stopped", OSError("no luck"), key=key)
    bench.driver.return_(home)
    bench.control.step(bench.now)
    assert key in bench.driver.running()
    assert row(bench, home).condition is NodeCondition.UNKNOWN
    bench.pass_time(1.0)
    assert key not in bench.driver.running()
    assert row(bench, home).condition is NodeCondition.READY
    assert bench.driver.stops[key] == 1
    bench.pass_time(100.0)
    assert bench.driver.stops[key] == 1
    bench.check()


def test_a_gang_with_a_lost_node_is_over_once_its_other_members_have_ended(bench: Bench) -> None:
    bench.driver.add_node(node("n3"))
    bench.driver.obey_stops = False
    ident = bench.submit(gang(retry=AGAIN))
    attempt = bench.last(ident)
    gone, left = attempt.members
    bench.driver.silence(gone.node)
    bench.pass_time(6.0)
    bench.pass_time(60.0)
    assert bench.driver.stops[attempt.key(left.index)] == 1
    assert bench.last(ident).phase is AttemptPhase.STOPPING
    bench.driver.finish(attempt.key(left.index), 1)
    bench.step()
    first, second = bench.attempts(ident)
    assert first.phase is AttemptPhase.LOST
    assert gone.node not in second.nodes
    bench.driver.obey_stops = True
    bench.driver.return_(gone.node)
    bench.pass_time(6.0)
    assert attempt.key(gone.index) not in bench.driver.running()
    assert set(bench.driver.running()) == {second.key(0), second.key(1)}
    bench.check()


def test_a_member_that_can_be_reached_although_its_node_is_gone_ends_before_it_is_tried_again(bench: Bench) -> None:
    """A node that is no longer declared: the driver does not list it, but still rules what runs there."""
    ident = bench.submit(task(retry=AGAIN))
    key = bench.last(ident).key(0)
    home = bench.last(ident).members[0].node
    bench.driver._nodes.pop(NodeId(home))
    bench.pass_time(6.0)
    assert key in bench.driver.running()
    bench.driver._nodes[NodeId("elsewhere")] = node("elsewhere")
    bench.driver._require_answering = lambda name: None  # type: ignore[method-assign]
    bench.pass_time(60.0)
    first, second = bench.attempts(ident)
    assert key not in bench.driver.running()
    assert first.phase is AttemptPhase.LOST
    assert second.phase is AttemptPhase.RUNNING


def test_interruptions_that_the_policy_leaves_out_fail_the_job(bench: Bench) -> None:
    ident = bench.submit(task(retry=RetryPolicy(maximum=3, on_events=(RetryEvent.ERROR,))))
    bench.driver.silence(bench.last(ident).members[0].node)
    bench.pass_time(6.0)
    bench.pass_time(60.0)
    assert bench.workload(ident).phase is WorkloadPhase.FAILED


def test_a_stop_of_what_runs_on_a_lost_node_ends_with_the_node(bench: Bench) -> None:
    ident = bench.submit(task(retry=AGAIN))
    bench.driver.silence(bench.last(ident).members[0].node)
    bench.pass_time(6.0)
    bench.wish(ident, Wish.STOP)
    assert bench.workload(ident).phase is WorkloadPhase.STOPPING
    bench.pass_time(60.0)
    assert bench.workload(ident).phase is WorkloadPhase.CANCELLED
    assert len(bench.attempts(ident)) == 1


def test_a_cordon_is_kept_over_a_silence(bench: Bench) -> None:
    bench.step()
    bench.writing.set_condition("n1", NodeCondition.CORDONED, by="anna")
    bench.driver.silence("n1")
    bench.pass_time(6.0)
    assert (row(bench, "n1").condition, row(bench, "n1").unknown_since) == (NodeCondition.CORDONED, bench.now)
    with pytest.raises(Conflict):
        bench.writing.set_condition("n1", NodeCondition.READY, by="anna")
    bench.driver.return_("n1")
    bench.pass_time(6.0)
    assert (row(bench, "n1").condition, row(bench, "n1").unknown_since) == (NodeCondition.CORDONED, None)
    for number in range(3):
        assert bench.last(bench.submit(task(f"t{number}"))).members[0].node == "n2"


def test_nothing_is_concluded_of_a_driver_that_does_not_answer(bench: Bench) -> None:
    from ampacity.model.errors import DriverUnavailable

    bench.step()
    bench.driver.fail("nodes", DriverUnavailable("away"), times=1000)
    bench.pass_time(500.0)
    assert row(bench, "n1").condition is NodeCondition.READY


def test_a_lost_replica_is_replaced_elsewhere(bench: Bench) -> None:
    ident = bench.submit(service(replicas=2))
    first = bench.attempts(ident)[0]
    bench.driver.silence(first.members[0].node)
    bench.pass_time(6.0)
    bench.pass_time(60.0)
    live = [attempt for attempt in bench.attempts(ident) if not attempt.phase.ended]
    assert len(live) == 2
    assert all(first.members[0].node not in attempt.nodes for attempt in live)
    assert bench.workload(ident).phase is WorkloadPhase.RUNNING
    assert any("silent for 60 s" in text for text in bench.texts(ident, EventKind.ATTEMPT_ENDED))
