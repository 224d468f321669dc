"""Reservations: when, where, on what they are based, and who is let past them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ampacity.model.attempt import Attempt, AttemptPhase, StopOrder
from ampacity.model.event import Row
from ampacity.model.history import RuntimeHistory
from ampacity.model.ids import QueueName
from ampacity.model.lasting import Basis, Lasting
from ampacity.model.plan import Plan, WaitCode
from ampacity.model.policy import BackfillName, BackfillPolicy, SchedulerPolicy
from ampacity.model.queue import Queue
from ampacity.model.resources import Counted, Range, ResourceRequest
from ampacity.model.rules import PlacementRules, TopologyMode, TopologyRule
from ampacity.model.site import Site
from ampacity.model.workload import SpecRevision, WorkloadKind
from ampacity.scheduler import build, plan
from ampacity.scheduler.backfill.horizon import end_of
from ampacity.scheduler.runtimes import lasting
from scheduler_cluster import node, request, rows_of, running, workload

N1, N2 = node("n1", devices=4), node("n2", devices=4)
TWO = Range.exactly(2)


def planned(*parts: Row | tuple[Row, ...], now: float = 0.0, backfill: BackfillPolicy | None = None) -> Plan:
    policy = SchedulerPolicy(backfill=backfill or BackfillPolicy())
    return plan(build(rows_of(N1, N2, policy, *parts)), now)


def started(made: Plan) -> set[str]:
    return {start.workload for start in made.starts}


def held(id: str, ask: str, lasts_s: float | None, on: str = "n1") -> tuple[Row, ...]:
    return running(id, {"n1": N1, "n2": N2}[on], request(ask), lasts_s=lasts_s)


def test_a_reservation_says_when_where_and_why() -> None:
    gang = workload("gang", request("H100:4"), num_nodes=TWO)
    made = planned(held("w1", "H100:3", 50.0), held("w2", "H100:2", 80.0, on="n2"), gang)
    (found,) = made.reservations
    assert (found.workload, found.from_s, found.basis) == ("gang", 80.0, Basis.LIMIT)
    assert found.awaits == ("w2.0.1", "w1.0.1")
    assert [place.node for place in found.placements] == ["n1", "n2"]
    assert all(len(place.allocation.devices) == 4 for place in found.placements)
    assert made.waits[0].code is WaitCode.INSUFFICIENT


def test_only_what_is_needed_is_held() -> None:
    """Two of the three free devices of n1 are held for the one that needs three: the third is anybody's."""
    head = workload("head", request("H100:4"), created_at=0.0)
    long = [workload(f"long{index}", request("H100"), created_at=1.0) for index in range(4)]
    made = planned(held("w1", "H100:1", 50.0), held("w2", "H100:3", None, on="n2"), head, *long)
    assert started(made) == {"long0"}, "on n2; all of n1 is held"
    assert made.starts[0].placements[0].node == "n2"
    smaller = workload("head", request("H100:3"), num_nodes=TWO)
    busy = held("w1", "H100:2", 50.0), held("w2", "H100:2", 60.0, on="n2")
    assert started(planned(*busy, smaller, *long)) == {"long0", "long1"}, "one of each node's two that are free is held"
    easy = BackfillPolicy(name=BackfillName.EASY)
    made = planned(*busy, smaller, *long, backfill=easy)
    assert started(made) == {"long0", "long1"}, "also when as many have places held as may"


@pytest.mark.parametrize(
    ("name", "count"), [(BackfillName.NONE, 0), (BackfillName.EASY, 1), (BackfillName.CONSERVATIVE, 3)]
)
def test_how_many_have_places_held(name: BackfillName, count: int) -> None:
    heads = [workload(f"h{index}", request("H100:4"), created_at=float(index), limit_s=10.0) for index in range(3)]
    full = [held("w1", "H100:4", 50.0), held("w2", "H100:4", 70.0, on="n2")]
    made = planned(*full, *heads, backfill=BackfillPolicy(name=name))
    assert [(each.workload, each.from_s) for each in made.reservations] == [("h0", 50.0), ("h1", 60.0), ("h2", 70.0)][
        :count
    ]


def test_the_free_part_of_a_shared_device_is_held_too() -> None:
    head = workload("head", request("H100:4"), num_nodes=TWO)
    half = workload("half", request("H100:0.5"), created_at=1.0)
    made = planned(held("w1", "H100:0.5", 50.0), head, half)
    assert started(made) == set()
    assert made.reservations[0].from_s == 50.0


def test_without_a_bound_nobody_is_let_past() -> None:
    gang = workload("gang", request("H100:4"), num_nodes=TWO)
    small = workload("small", request("H100"), created_at=1.0)
    busy = [held("w1", "H100:3", 500.0), held("w2", "H100:1", 80.0, on="n2")]
    assert started(planned(*busy, gang, small)) == set()
    experience = RuntimeHistory(key="default/default/train/name-small")
    for _ in range(6):
        experience = experience.with_run(100.0, 0.0)
    assert started(planned(*busy, gang, small, experience)) == {"small"}, "such jobs have always ended by then"
    none = BackfillPolicy(name=BackfillName.NONE)
    assert started(planned(*busy, gang, small, backfill=none)) == {"small"}


def test_what_never_ends_makes_no_promise() -> None:
    service = held("w1", "H100:1", 10.0)
    attempt = next(row for row in service if isinstance(row, Attempt))
    endless = (*service[:-1], replace(attempt, lasting=Lasting(basis=Basis.ENDLESS)))
    made = planned(endless, workload("gang", request("H100:4"), num_nodes=TWO), workload("w9", request("H100")))
    assert made.reservations == ()
    assert started(made) == {"w9"}


def test_what_should_have_ended_is_expected_soon() -> None:
    made = planned(held("w1", "H100:1", 10.0), workload("gang", request("H100:4"), num_nodes=TWO), now=1000.0)
    assert [each.from_s for each in made.reservations] == [1060.0]


def test_an_end_is_expected_by_the_limit_from_the_start_on() -> None:
    attempt = next(row for row in held("w1", "H100", 10.0) if isinstance(row, Attempt))
    assert end_of(replace(attempt, placed_at=5.0)) == 15.0
    assert end_of(replace(attempt, placed_at=5.0, started_at=7.0)) == 17.0


def test_a_start_that_is_seen_late_moves_what_is_expected() -> None:
    from ampacity.model.event import Draft, Event, EventKind, put

    gang = workload("gang", request("H100:4"), num_nodes=TWO)
    state = build(rows_of(N1, N2, held("w1", "H100:1", 50.0), gang))
    assert plan(state, 0.0).reservations[0].from_s == 50.0
    begun = replace(state.attempts[next(iter(state.attempts))], started_at=30.0, version=2)
    state.apply(Event(seq=1, draft=Draft(kind=EventKind.ATTEMPT_CHANGED, at=30.0, changes=(put(begun),))))
    assert plan(state, 30.0).reservations[0].from_s == 80.0


def test_quota_is_held_for_the_head_of_a_queue() -> None:
    tight = Queue(name=QueueName("a"), quota={"H100": 4000}, borrows=False)
    busy = running("w1", N1, request("H100:2"), queue="a", lasts_s=100.0)
    head = workload("head", request("H100:4"), queue="a")
    short = workload("short", request("H100"), queue="a", created_at=1.0, limit_s=90.0)
    long = workload("long", request("H100"), queue="a", created_at=2.0, limit_s=200.0)
    other = workload("other", request("H100"), created_at=3.0)
    made = planned(tight, busy, head, short, long, other)
    assert started(made) == {"short", "other"}
    (found, *_) = made.reservations
    assert (found.workload, found.from_s, found.placements, found.awaits) == ("head", 100.0, (), ("w1.0.1",))
    assert made.waits.of(head[0].id)[0].code is WaitCode.QUOTA  # type: ignore[union-attr]
    assert made.waits.of(long[0].id)[0].code is WaitCode.BEHIND  # type: ignore[union-attr]


def test_who_asks_for_more_than_its_queue_may_ever_use_holds_up_nobody() -> None:
    tight = Queue(name=QueueName("a"), quota={"H100": 2000}, borrows=False)
    head = workload("head", request("H100:4"), queue="a")
    made = planned(tight, head, workload("small", request("H100"), queue="a", created_at=1.0))
    assert (started(made), made.reservations) == ({"small"}, ())


def test_how_long_it_will_last() -> None:
    runtimes = {"k": RuntimeHistory(key="k")}
    for _ in range(5):
        assert lasting(WorkloadKind.TASK, None, runtimes, "k", 7.0) == Lasting(basis=Basis.ASSUMED, seconds=7.0)
        runtimes["k"] = runtimes["k"].with_run(100.0, 0.0)
    learned = lasting(WorkloadKind.TASK, None, runtimes, "k", 7.0)
    assert learned.basis is Basis.LEARNED
    assert 100.0 <= learned.bound_s < 142.0
    assert lasting(WorkloadKind.TASK, 50.0, runtimes, "k", 7.0) == Lasting(basis=Basis.LIMIT, seconds=50.0)
    assert lasting(WorkloadKind.SERVICE, None, runtimes, "k", 7.0).expected_s == float("inf")


def test_one_that_ends_in_time_is_let_past_though_another_of_its_shape_is_kept_out() -> None:
    """Also when as many have places held as may."""
    gang = workload("gang", request("H100:4"), num_nodes=TWO, created_at=0.0)
    long = workload("long", request("H100"), created_at=1.0, limit_s=500.0)
    short = workload("short", request("H100"), created_at=2.0, limit_s=20.0)
    easy = BackfillPolicy(name=BackfillName.EASY)
    made = planned(held("w1", "H100:3", 50.0), held("w2", "H100:3", 80.0, on="n2"), gang, long, short, backfill=easy)
    assert started(made) == {"short"}


def test_what_is_held_from_a_time_on_is_free_until_then() -> None:
    """One has n1 held from 50 on, another n2 from 200 on. What has ended by 200 may have n2, whatever is held of n1."""
    heads = [workload(f"head{index}", request("H100:4"), created_at=float(index), limit_s=900.0) for index in range(2)]
    busy = [held("w1", "H100:3", 50.0), held("w2", "H100:3", 200.0, on="n2")]
    for lasts_s, nodes in ((50.0, {"n1"}), (51.0, {"n2"}), (200.0, {"n2"}), (201.0, set[str]())):
        one = workload("one", request("H100"), created_at=2.0, limit_s=lasts_s)
        made = planned(*busy, *heads, one)
        assert [each.from_s for each in made.reservations][:2] == [50.0, 200.0]
        assert {start.placements[0].node for start in made.starts} == nodes


def test_one_that_lasts_longer_is_not_in_the_way_of_one_that_ends_in_time() -> None:
    heads = [workload(f"head{index}", request("H100:4"), created_at=float(index), limit_s=900.0) for index in range(2)]
    busy = [held("w1", "H100:3", 50.0), held("w2", "H100:3", 200.0, on="n2")]
    others = [
        workload(f"lasts{limit}", request("H100"), created_at=3.0, limit_s=limit) for limit in (250.0, 100.0, 190.0)
    ]
    made = planned(*busy, *heads, *others, backfill=BackfillPolicy(depth=2))
    assert started(made) == {"lasts100.0"}, "n2 has one place"


def test_quota_that_is_held_from_a_time_on_may_be_used_until_then() -> None:
    tight = Queue(name=QueueName("a"), quota={"H100": 4000}, borrows=False)
    busy = [running("w1", N1, request("H100:2"), queue="a", lasts_s=100.0), held("w2", "H100:1", 60.0, on="n2")]
    heads = [
        workload("large", request("H100:4"), created_at=0.0, limit_s=900.0),
        workload("head", request("H100:4"), queue="a", created_at=0.0, limit_s=900.0),
    ]
    for lasts_s, starts in ((100.0, {"one"}), (101.0, set[str]())):
        one = workload("one", request("H100"), queue="a", created_at=2.0, limit_s=lasts_s)
        made = planned(tight, *busy, *heads, one)
        assert {each.workload: each.from_s for each in made.reservations}.items() >= {
            "large": 60.0,
            "head": 100.0,
        }.items()
        assert started(made) == starts


def test_of_a_shared_device_only_that_part_is_held_that_does_not_come_free() -> None:
    one = node("n1", devices=1)
    sharer = running("w1", one, request("H100:0.5"), lasts_s=50.0)
    head = workload("head", request("H100:0.6"))
    long = workload("long", request("H100:0.4"), created_at=1.0)
    longer = workload("longer", request("H100:0.1"), created_at=2.0)
    made = plan(build(rows_of(one, sharer, head, long, longer)), 0.0)
    assert (made.reservations[0].workload, made.reservations[0].from_s) == ("head", 50.0)
    assert started(made) == {"long"}, "a tenth is held of the half that is free"


def test_who_ends_in_time_uses_the_devices_that_are_held_and_leaves_the_others_to_those_who_do_not() -> None:
    """Two of n1's four devices come free in time; of the other two one is held for a head that needs three."""
    head = workload("head", request("H100:3"), created_at=0.0)
    short = workload("short", request("H100"), created_at=1.0, limit_s=20.0)
    long = [workload(f"long{index}", request("H100"), created_at=2.0 + index, limit_s=900.0) for index in range(2)]
    state = build(rows_of(N1, held("w1", "H100:2", 50.0), head, short, *long))
    made = plan(state, 0.0)
    found = made.reservations[0]
    assert (found.workload, found.from_s) == ("head", 50.0)
    assert [share.device for share in found.placements[0].allocation.devices] == ["n1-0", "n1-1", "n1-2"]
    assert [(start.workload, start.placements[0].allocation.devices[0].device) for start in made.starts] == [
        ("short", "n1-2"),
        ("long0", "n1-3"),
    ]


def test_of_several_devices_that_come_free_the_first_are_taken_and_what_is_free_is_left() -> None:
    """Devices 0 and 1 are busy until 50, 2 and 3 are free: who needs two of them in 50 s holds none that is free."""
    busy = held("w1", "H100:2", 50.0)
    head = workload("head", request("H100:2", cpus=64))
    made = plan(build(rows_of(N1, busy, head)), 0.0)
    (found,) = made.reservations
    assert [share.device for share in found.placements[0].allocation.devices] == ["n1-0", "n1-1"]


def test_what_may_start_again_after_a_failure_is_told_apart_by_what_it_asks_for() -> None:
    """Those that were held back stand in no line: each is looked at by its own shape, not by that of another."""
    large = workload("a", request("H100:4"), not_before=1.0, failures=1)
    small = [workload(id, request("H100"), not_before=1.0, failures=1) for id in ("b", "c")]
    made = planned(held("w1", "H100:1", None), held("w2", "H100:1", None, on="n2"), large, *small, now=10.0)
    assert started(made) == {"b", "c"}
    assert [(wait.workload, wait.code) for wait in made.waits] == [("a", WaitCode.INSUFFICIENT)]


@pytest.mark.parametrize(
    ("mode", "at", "on"), [(TopologyMode.REQUIRED, 50.0, ["n2", "n3"]), (TopologyMode.PREFERRED, 20.0, ["n0", "n2"])]
)
def test_a_gang_that_has_to_be_in_one_place_has_a_place_held_in_the_first_that_comes_free(
    mode: TopologyMode, at: float, on: list[str]
) -> None:
    nodes = [
        replace(node(f"n{index}", devices=8), trees={"fabric": ("spine", f"leaf{index // 2}")}) for index in range(4)
    ]
    ends = (10.0, 100.0, 20.0, 50.0)
    busy = [running(f"w{index}", nodes[index], request("H100:8"), lasts_s=ends[index]) for index in range(4)]
    rule = TopologyRule(tree="fabric", level="leaf", mode=mode)
    gang = _ruled(workload("gang", request("H100:8"), num_nodes=TWO), PlacementRules(topology=rule))
    (found,) = plan(build(rows_of(*nodes, *busy, gang)), 0.0).reservations
    assert (found.from_s, [place.node for place in found.placements]) == (at, on)


def _ruled(parts: tuple[Row, ...], rules: PlacementRules) -> tuple[Row, ...]:
    return tuple(
        replace(row, spec=replace(row.spec, rules=rules)) if isinstance(row, SpecRevision) else row for row in parts
    )


@pytest.mark.parametrize(
    "asked",
    [
        replace(request("H100"), counted=(Counted(name="fpga", amount=1),)),
        replace(request("H100"), power_w=100),
    ],
)
def test_who_asks_for_what_is_counted_or_for_watts_is_promised_no_time_at_which_they_may_be_missing(
    asked: ResourceRequest,
) -> None:
    """The device comes free at 50, what it asks for beside that at 90."""
    whole = replace(node("n1", devices=1), counted={"fpga": 1}, feed="pdu")
    device = running("w1", whole, request("H100"), lasts_s=50.0)
    beside = running("w2", whole, replace(asked, accelerators=()), lasts_s=90.0)
    made = plan(build(rows_of(Site(feeds={"pdu": 150}), whole, device, beside, workload("head", asked))), 0.0)
    assert [(each.workload, each.from_s) for each in made.reservations] == [("head", 90.0)]


def test_all_of_one_shape_have_places_held_as_long_as_more_may() -> None:
    """There would be room for them, were it not held; they have other limits, so each is looked at by itself."""
    busy = held("w1", "H100:3", 50.0), held("w2", "H100:3", 80.0, on="n2")
    gang = workload("gang", request("H100:4"), num_nodes=TWO, limit_s=10.0)
    long = [
        workload(f"long{index}", request("H100"), created_at=1.0 + index, limit_s=500.0 + index) for index in (0, 1)
    ]
    made = planned(*busy, gang, *long)
    assert [(each.workload, each.from_s) for each in made.reservations] == [
        ("gang", 80.0),
        ("long0", 90.0),
        ("long1", 90.0),
    ]
    assert started(made) == set()


def test_who_would_find_no_room_either_is_not_told_that_it_waits_behind_others() -> None:
    """Places are held for the first; for the others there are none, whether anything is held or not."""
    busy = held("w1", "H100:3", 50.0), held("w2", "H100:3", 80.0, on="n2")
    head = workload("head", request("H100:4"))
    pair, single = workload("pair", request("H100:2"), created_at=1.0), workload("one", request("H100"), created_at=2.0)
    made = planned(*busy, head, pair, single, workload("last", request("H100"), num_nodes=TWO, created_at=3.0))
    assert started(made) == {"one"}
    codes = {wait.workload: wait.code for wait in made.waits}
    assert codes == {"head": WaitCode.INSUFFICIENT, "pair": WaitCode.INSUFFICIENT, "last": WaitCode.INSUFFICIENT}


def test_of_many_that_end_on_one_node_no_time_is_promised_at_which_too_few_have() -> None:
    """More than are told apart: some count as ending a little later than they do, none as ending sooner."""
    one = node("n1", cpus=20)
    attempts = [running(f"w{index:02}", one, request(cpus=1), lasts_s=10.0 * (index + 1)) for index in range(20)]
    for cpus in (1, 7, 13, 20):
        (found,) = plan(build(rows_of(one, *attempts, workload("head", request(cpus=cpus)))), 0.0).reservations
        assert 10.0 * cpus <= found.from_s <= 10.0 * (cpus + 1)
    assert found.from_s == 200.0


@pytest.mark.parametrize(
    "asks", [{"cpus": 40}, {"memory_bytes": 40}, {"disk_bytes": 40}], ids=["CPUs", "memory", "disk"]
)
def test_a_place_is_held_from_when_all_that_is_asked_for_is_free(asks: dict[str, int]) -> None:
    one = replace(node("n1", cpus=64, memory_bytes=64), disk_bytes=64)
    held = [running("w1", one, request(cpus=0), lasts_s=10.0)]
    held += [running(f"w{at}", one, request(**{"cpus": 0, **asks}), lasts_s=at) for at in (50.0,)]
    (found,) = plan(build(rows_of(one, *held, workload("head", request(**{"cpus": 0, **asks})))), 0.0).reservations
    assert found.from_s == 50.0


def test_what_a_time_is_based_on_is_the_least_sure_of_what_has_to_end() -> None:
    gang = workload("gang", request("H100:4"), num_nodes=TWO)
    *rest, attempt = held("w1", "H100:1", None)
    assert isinstance(attempt, Attempt)
    order = StopOrder(reason="stopped by anna", by="anna", grace_s=9.0, at=0.0)
    stopping = (*rest, replace(attempt, phase=AttemptPhase.STOPPING, stop=order))
    assumed, limited = held("w1", "H100:1", None), held("w2", "H100:1", 80.0, on="n2")
    for busy, basis in (
        ((stopping,), Basis.LIMIT),
        ((stopping, limited), Basis.LIMIT),
        ((assumed,), Basis.ASSUMED),
        ((assumed, limited), Basis.ASSUMED),
    ):
        (found,) = planned(*busy, gang).reservations
        assert found.basis is basis


@pytest.mark.parametrize("ask", ["H100:4 | A100:4", "A100:4 | H100:4"])
def test_of_the_kinds_that_would_do_that_is_held_which_comes_free_first(ask: str) -> None:
    other = node("n3", devices=4, kind="A100")
    late = running("w3", other, request("A100:4"), lasts_s=80.0)
    made = plan(build(rows_of(N1, other, held("w1", "H100:4", 50.0), late, workload("head", request(ask)))), 0.0)
    (found,) = made.reservations
    assert (found.from_s, [place.node for place in found.placements]) == (50.0, ["n1"])


def licensed(ask: str, amount: int = 1) -> ResourceRequest:
    return replace(request(ask), licences=(Counted(name="matlab", amount=amount),))


def test_who_waits_for_licences_is_expected_when_these_come_free_and_whose_they_are_is_said() -> None:
    """There is room for it on n1 all the time."""
    site = Site(licences={"matlab": 2})
    holders = [running(f"w{at:.0f}", N2, licensed("H100:1"), lasts_s=at) for at in (50.0, 80.0)]
    asker = workload("asker", licensed("H100:4", 2))
    (found,) = planned(site, *holders, asker).reservations
    assert (found.from_s, found.awaits, found.basis) == (80.0, ("w80.0.1", "w50.0.1"), Basis.LIMIT)
    assert len(found.placements) == 1
    endless = running("service", N2, licensed("H100:1"), lasts_s=None)
    assert planned(site, holders[0], endless, workload("asker", licensed("H100:4", 2))).reservations[0].from_s > 50.0
    assert planned(Site(licences={"matlab": 1}), holders[0], asker).reservations == (), "there never will be two"


def test_nobody_is_let_past_with_a_licence_that_is_held_for_another() -> None:
    site = Site(licences={"matlab": 2})
    holder = running("holder", N2, licensed("H100:1"), lasts_s=50.0)
    asker = workload("asker", licensed("H100:1", 2), created_at=0.0)
    long = workload("long", licensed("H100:1"), created_at=1.0, limit_s=100.0)
    short = workload("short", licensed("H100:1"), created_at=2.0, limit_s=40.0)
    free = workload("free", request("H100:1"), created_at=3.0, limit_s=100.0)
    made = planned(site, holder, asker, long, free)
    assert started(made) == {"free"}
    assert {each.workload: each.from_s for each in made.reservations}["asker"] == 50.0
    assert started(planned(site, holder, asker, long, short, free)) == {"short", "free"}


def test_two_that_wait_for_one_licence_are_expected_one_after_the_other() -> None:
    site = Site(licences={"matlab": 1})
    holder = running("holder", N2, licensed("H100:1"), lasts_s=50.0)
    askers = [workload(name, licensed("H100:1"), created_at=at, limit_s=30.0) for at, name in enumerate(("a", "b"), 1)]
    found = {each.workload: each.from_s for each in planned(site, holder, *askers).reservations}
    assert found == {"a": 50.0, "b": 80.0}
