"""Order, gates, fit and place, seen through ``plan``."""

from __future__ import annotations

from ampacity.model.attempt import AttemptPhase
from ampacity.model.node import Health, NodeCondition
from ampacity.model.plan import Plan, WaitCode
from ampacity.model.resources import Range
from ampacity.model.workload import WorkloadPhase
from ampacity.scheduler import build, plan
from scheduler_cluster import GIB, node, request, rows_of, running, workload


def planned(*parts: object, now: float = 100.0) -> Plan:
    return plan(build(rows_of(*parts)), now)  # type: ignore[arg-type]


def nodes_of(made: Plan) -> dict[str, tuple[str, ...]]:
    return {start.workload: tuple(placement.node for placement in start.placements) for start in made.starts}


def test_higher_priority_goes_first_then_the_older_then_the_id() -> None:
    made = planned(
        node("n1", cpus=2),
        workload("w-late", created_at=2),
        workload("w-b", created_at=1),
        workload("w-a", created_at=1),
        workload("w-urgent", created_at=9, priority=100),
    )
    assert [start.workload for start in made.starts] == ["w-urgent", "w-a"]
    assert [wait.workload for wait in made.waits] == ["w-b", "w-late"]


def test_a_gang_gets_distinct_nodes_or_none() -> None:
    gang = workload("w1", request("H100:1"), num_nodes=Range.exactly(2))
    assert nodes_of(planned(node("n1", devices=4), node("n2", devices=1), gang)) == {"w1": ("n1", "n2")}
    refused = planned(node("n1", devices=4), gang)
    assert refused.starts == ()
    assert refused.waits[0].code is WaitCode.IMPOSSIBLE


def test_an_elastic_gang_gets_as_many_nodes_as_fit() -> None:
    three = [node(f"n{i}", devices=8) for i in range(3)]
    assert (
        len(nodes_of(planned(*three, workload("w1", request("H100:8"), num_nodes=Range(minimum=2, maximum=4))))["w1"])
        == 3
    )
    assert (
        len(nodes_of(planned(*three, workload("w1", request("H100:8"), num_nodes=Range(minimum=1, maximum=2))))["w1"])
        == 2
    )
    assert len(nodes_of(planned(*three, workload("w1", request("H100:8"), num_nodes=Range.at_least(2))))["w1"]) == 3


def test_the_desired_size_overrides_the_range() -> None:
    three = [node(f"n{i}", devices=8) for i in range(3)]
    made = planned(*three, workload("w1", request("H100:8"), num_nodes=Range(minimum=1, maximum=3), size=2))
    assert len(nodes_of(made)["w1"]) == 2


def test_best_fit_takes_the_node_that_is_left_with_the_least() -> None:
    assert nodes_of(planned(node("n1", devices=8), node("n2", devices=2), workload("w1", request("H100:2")))) == {
        "w1": ("n2",)
    }
    assert nodes_of(planned(node("n1", cpus=64), node("n2", cpus=8), workload("w1", request(cpus=4)))) == {
        "w1": ("n2",)
    }
    assert nodes_of(planned(node("n2"), node("n1"), workload("w1"))) == {"w1": ("n1",)}


def test_work_for_cpus_keeps_off_nodes_with_accelerators() -> None:
    made = planned(node("n1", devices=8, cpus=4), node("n2", cpus=64), workload("w1", request(cpus=4)))
    assert nodes_of(made) == {"w1": ("n2",)}


def test_shares_of_one_device_are_packed_together() -> None:
    made = planned(node("n1", devices=2), *(workload(f"w{i}", request("H100:0.5")) for i in range(4)))
    shares = [start.placements[0].allocation.devices[0].device for start in made.starts]
    assert shares == ["n1-0", "n1-0", "n1-1", "n1-1"]


def test_cordoned_and_silent_nodes_and_failed_devices_are_not_used() -> None:
    made = planned(
        node("n1", devices=1, condition=NodeCondition.CORDONED),
        node("n2", devices=1, condition=NodeCondition.UNKNOWN),
        node("n3", devices=1, health=Health.FAILED),
        node("n4", devices=1, health=Health.DEGRADED),
        workload("w1", request("H100:1")),
    )
    assert nodes_of(made) == {"w1": ("n4",)}


def test_a_stopping_attempt_still_holds_its_place_and_an_ended_one_does_not() -> None:
    n1 = node("n1", devices=1)
    waiting = workload("w2", request("H100:1"))
    stopping = planned(n1, running("w1", n1, request("H100:1"), phase=AttemptPhase.STOPPING), waiting)
    assert stopping.starts == ()
    ended = planned(n1, running("w1", n1, request("H100:1"), phase=AttemptPhase.FAILED), waiting)
    assert nodes_of(ended) == {"w2": ("n1",)}


def test_it_waits_for_what_it_comes_after() -> None:
    def after(phase: WorkloadPhase) -> Plan:
        first = workload("w1", phase=phase)
        return planned(node("n1"), first, workload("w2", after=("w1",)))

    assert "w2" in nodes_of(after(WorkloadPhase.SUCCEEDED))
    unfinished = [wait for wait in after(WorkloadPhase.RUNNING).waits if wait.workload == "w2"]
    assert unfinished[0].code is WaitCode.AFTER
    assert unfinished[0].text == "comes after name-w1 (w1), which is running."
    failed = after(WorkloadPhase.FAILED).waits[0]
    assert failed.text == "comes after name-w1 (w1), which failed: so it will not start."
    assert after(WorkloadPhase.CANCELLED).starts == ()
    unknown = planned(node("n1"), workload("w2", after=("w0",))).waits[0]
    assert "w0, of which nothing is known" in unknown.text


def test_backoff_holds_back_and_sets_the_next_wake() -> None:
    held = workload("w1", not_before=150.0, failures=2)
    later = workload("w2", not_before=170.0, failures=1)
    made = planned(node("n1"), held, later)
    assert [wait.code for wait in made.waits] == [WaitCode.BACKOFF, WaitCode.BACKOFF]
    assert made.waits[0].text == "is held back until 1970-01-01 00:02:30 UTC after 2 failures."
    assert made.next_wake == 150.0
    assert set(nodes_of(planned(node("n1"), held, later, now=170.0))) == {"w1", "w2"}


def test_replicas_beyond_the_desired_number_do_not_start() -> None:
    parts = workload("w1", replicas=3)
    desired = parts[2]
    from dataclasses import replace

    fewer = (*parts[:2], replace(desired, replicas=1), *parts[3:])
    made = planned(node("n1"), fewer)
    assert [(start.workload, start.replica) for start in made.starts] == [("w1", 0)]
    assert made.waits == ()


def test_a_blocked_gang_does_not_hold_up_those_behind_it() -> None:
    n1, n2 = node("n1", devices=2), node("n2", devices=2)
    gang = workload("w2", request("H100:2"), num_nodes=Range.exactly(2), created_at=-1.0)
    held = running("w1", n1, request("H100:1"), lasts_s=100.0)
    others = [workload(f"w{lasts_s}", request("H100:1"), limit_s=float(lasts_s)) for lasts_s in (99, 101)]
    made = planned(n1, n2, held, gang, *others, workload("w4", request("H100:1")), now=0.0)
    assert set(nodes_of(made)) == {"w99"}, "it has ended before the gang can start"
    reservation = made.reservations[0]
    assert (reservation.workload, reservation.from_s, reservation.awaits) == ("w2", 100.0, ("w1.0.1",))
    assert [wait.code for wait in made.waits] == [WaitCode.BEHIND, WaitCode.INSUFFICIENT, WaitCode.BEHIND]


def test_memory_and_disk_count() -> None:
    made = planned(
        node("n1", memory_bytes=8 * GIB),
        workload("w1", request(memory_bytes=5 * GIB)),
        workload("w2", request(memory_bytes=5 * GIB)),
    )
    assert [start.workload for start in made.starts] == ["w1"]
    assert planned(node("n1"), workload("w1", request(disk_bytes=1))).waits[0].code is WaitCode.IMPOSSIBLE
