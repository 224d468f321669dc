"""``evolve`` under facts that come doubled, late, out of order, or not at all."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ampacity.model.attempt import (
    TRANSITIONS,
    Attempt,
    AttemptFact,
    AttemptLost,
    AttemptPhase,
    Cause,
    CauseKind,
    IncarnationBegan,
    Member,
    MemberExited,
    MemberPhase,
    MemberPreparing,
    MemberStarted,
    Progress,
    ProgressReported,
    ReadinessChanged,
    StopOrder,
)
from ampacity.model.evolve import evolve, order_stop
from ampacity.model.ids import AttemptId, MemberKey, NodeId, WorkloadId
from ampacity.model.resources import Allocation

MEMBERS = 2
ID = AttemptId("w.0.1")
TIMES = st.floats(0, 100)
KEYS = st.builds(MemberKey, attempt=st.just(ID), member=st.integers(0, MEMBERS - 1), epoch=st.just(1))
COMPLETED = Cause(kind=CauseKind.COMPLETED, exit_code=0)
CAUSES = st.sampled_from([COMPLETED, Cause(kind=CauseKind.EXIT, exit_code=3), Cause(kind=CauseKind.SIGNAL, signal=9)])
PROGRESS = st.builds(Progress, at=TIMES, step=st.integers(0, 99), checkpoint_step=st.none() | st.integers(0, 99))
FACTS: st.SearchStrategy[AttemptFact] = st.one_of(
    st.builds(MemberPreparing, key=KEYS, at=TIMES),
    st.builds(MemberStarted, key=KEYS, at=TIMES, endpoint=st.sampled_from(["", "h:1"])),
    st.builds(MemberExited, key=KEYS, at=TIMES, cause=CAUSES),
    st.builds(IncarnationBegan, key=KEYS, at=TIMES, incarnation=st.integers(1, 5), cause=CAUSES),
    st.builds(ProgressReported, key=KEYS, at=TIMES, progress=PROGRESS),
    st.builds(ReadinessChanged, key=KEYS, at=TIMES, ready=st.booleans()),
    st.builds(AttemptLost, attempt=st.just(ID), at=TIMES),
)
ORDER = StopOrder(reason="enough", by="me", grace_s=1.0, at=5.0)
GIVE_WAY = StopOrder(reason="big", by="it", grace_s=1.0, at=5.0, cause=Cause(kind=CauseKind.PREEMPTED))


def placed() -> Attempt:
    members = tuple(
        Member(index=index, node=NodeId(f"n{index}"), allocation=Allocation(cpu_milli=1, memory_bytes=0))
        for index in range(MEMBERS)
    )
    return Attempt(id=ID, workload=WorkloadId("w"), replica=0, epoch=1, spec_revision=1, members=members)


@given(facts=st.lists(FACTS | st.sampled_from([ORDER, GIVE_WAY]), max_size=25))
def test_phases_go_forwards_by_the_table_and_versions_by_one(facts: list[AttemptFact | StopOrder]) -> None:
    attempt = placed()
    for fact in facts:
        after = order_stop(attempt, fact) if isinstance(fact, StopOrder) else evolve(attempt, fact)
        if after is attempt:
            continue
        assert not attempt.phase.ended, "what has ended stays as it is"
        assert after.version == attempt.version + 1
        assert after.phase is attempt.phase or after.phase in TRANSITIONS[attempt.phase]
        for before, now in zip(attempt.members, after.members, strict=True):
            assert list(MemberPhase).index(now.phase) >= list(MemberPhase).index(before.phase)
        assert after.phase.ended == (after.ended_at is not None) == (after.cause is not None)
        assert not (after.ready and (after.phase.ended or after.phase is AttemptPhase.STOPPING))
        attempt = after


@given(facts=st.lists(FACTS, max_size=15))
def test_a_doubled_fact_changes_nothing_more(facts: list[AttemptFact]) -> None:
    once = twice = placed()
    for fact in facts:
        once = evolve(once, fact)
        twice = evolve(evolve(twice, fact), fact)
        assert once == twice


@given(facts=st.lists(FACTS, max_size=15), epoch=st.integers(2, 3))
def test_facts_of_another_epoch_or_attempt_change_nothing(facts: list[AttemptFact], epoch: int) -> None:
    attempt = placed()
    for fact in facts:
        if isinstance(fact, AttemptLost):
            assert evolve(attempt, replace(fact, attempt=AttemptId("w.0.2"))) is attempt
            continue
        assert evolve(attempt, replace(fact, key=replace(fact.key, epoch=epoch))) is attempt
        assert evolve(attempt, replace(fact, key=replace(fact.key, member=MEMBERS))) is attempt


@given(order=st.permutations(range(MEMBERS)), causes=st.lists(CAUSES, min_size=MEMBERS, max_size=MEMBERS))
def test_a_gang_succeeds_when_all_its_members_did_and_else_fails_by_the_first(
    order: list[int], causes: list[Cause]
) -> None:
    attempt = placed()
    for member in order:
        attempt = evolve(attempt, MemberExited(key=attempt.key(member), at=1.0, cause=causes[member]))
    failures = [causes[member] for member in order if not causes[member].completed]
    assert attempt.phase is (AttemptPhase.FAILED if failures else AttemptPhase.SUCCEEDED)
    assert attempt.cause == (failures[0] if failures else COMPLETED)


@given(
    order=st.permutations(range(MEMBERS)),
    causes=st.lists(CAUSES | st.just(Cause(kind=CauseKind.STOPPED)), min_size=MEMBERS, max_size=MEMBERS),
)
def test_one_that_gives_way_succeeds_fails_by_itself_or_goes_on_later(order: list[int], causes: list[Cause]) -> None:
    attempt = order_stop(placed(), GIVE_WAY)
    assert order_stop(attempt, GIVE_WAY) is attempt
    for member in order:
        attempt = evolve(attempt, MemberExited(key=attempt.key(member), at=1.0, cause=causes[member]))
    own = [causes[member] for member in order if causes[member].kind in (CauseKind.EXIT, CauseKind.SIGNAL)]
    if own:
        assert (attempt.phase, attempt.cause) == (AttemptPhase.FAILED, own[0])
    elif all(cause.completed for cause in causes):
        assert attempt.phase is AttemptPhase.SUCCEEDED
    else:
        assert (attempt.phase, attempt.cause) == (AttemptPhase.CANCELLED, GIVE_WAY.cause)


@given(order=st.permutations(["start 0", "start 1", "end 0"]), lost=st.sampled_from(["", "start 0"]))
def test_a_gang_runs_once_no_member_is_left_to_begin(order: list[str], lost: str) -> None:
    """Also where the start of a member that has ended was never heard of, whichever comes first."""
    attempt = placed()
    facts = {
        "start 0": MemberStarted(key=attempt.key(0), at=1.0),
        "start 1": MemberStarted(key=attempt.key(1), at=2.0),
        "end 0": MemberExited(key=attempt.key(0), at=3.0, cause=COMPLETED),
    }
    for name in order:
        if name != lost:
            attempt = evolve(attempt, facts[name])
            assert attempt.phase in (AttemptPhase.PREPARING, AttemptPhase.RUNNING)
    assert attempt.phase is AttemptPhase.RUNNING
    assert attempt.started_at is not None


@given(facts=st.lists(FACTS, max_size=15))
def test_a_stop_that_was_ordered_is_what_it_ends_with_unless_it_is_lost(facts: list[AttemptFact]) -> None:
    attempt = order_stop(placed(), ORDER)
    for fact in facts:
        attempt = evolve(attempt, fact)
    if attempt.phase.ended:
        assert attempt.phase in (AttemptPhase.CANCELLED, AttemptPhase.LOST)


def test_ended_is_what_no_phase_follows() -> None:
    ends = {phase for phase in AttemptPhase if phase.ended}
    assert ends == {AttemptPhase.SUCCEEDED, AttemptPhase.FAILED, AttemptPhase.CANCELLED, AttemptPhase.LOST}
    assert all(following not in TRANSITIONS[following] for following in AttemptPhase)
