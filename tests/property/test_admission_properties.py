"""Admission under any traffic: limits hold, nobody is forgotten, shares are fair, who is refused is told in time."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from ampacity.model.access import ApiKey, Limits, ProjectLimits, digest_of, key_id
from ampacity.model.ids import Project
from ampacity.serving.admission import Admission, AdmissionPolicy, Ending, Entry, Go, Held, Refused
from ampacity.serving.admission.bucket import Bucket

MODEL = "m"


def key_of(project: str, *, priority: int = 0, limits: Limits | None = None) -> ApiKey:
    digest = digest_of(project)
    return ApiKey(
        id=key_id(digest),
        name=project,
        digest=digest,
        project=Project(project),
        priority=priority,
        limits=limits or Limits(),
    )


@dataclass
class Arrival:
    at: float
    entry: Entry


@dataclass
class Run:
    """What became of each request, by its id."""

    answered_at: dict[int, float] = field(default_factory=dict)
    refused: dict[int, Refused] = field(default_factory=dict)
    refused_at: dict[int, float] = field(default_factory=dict)
    went: list[Entry] = field(default_factory=list)
    most_at_once: int = 0


def simulate(
    admission: Admission, arrivals: list[Arrival], service_s: float | random.Random, used: int | None = None
) -> Run:
    """Engines that take ``service_s`` for each request, or at random about a second."""
    run, running, at_once = Run(), [], 0
    pending = [(arrival.at, 0, arrival.entry.id, arrival.entry) for arrival in arrivals]
    heapq.heapify(pending)

    def begin(entry: Entry, now: float) -> None:
        nonlocal at_once
        at_once += 1
        run.most_at_once = max(run.most_at_once, at_once)
        run.went.append(entry)
        takes = service_s.uniform(0.5, 1.5) if isinstance(service_s, random.Random) else service_s
        heapq.heappush(running, (now + takes, entry.id, entry))

    def settle(entry: Entry, verdict: object, now: float) -> None:
        if isinstance(verdict, Go):
            begin(entry, now)
        elif isinstance(verdict, Refused):
            run.refused[entry.id], run.refused_at[entry.id] = verdict, now

    while pending or running or admission.next_wake() is not None:
        due = admission.next_wake()
        now = min(
            [each[0] for each in (pending[:1] + running[:1])] + ([] if due is None else [due])  # type: ignore[misc]
        )
        if running and running[0][0] <= now:
            _, _, entry = heapq.heappop(running)
            at_once -= 1
            run.answered_at[entry.id] = now
            admission.ended(entry, now, output_tokens=used)
        elif pending and pending[0][0] <= now:
            _, _, _, entry = heapq.heappop(pending)
            settle(entry, admission.ask(entry, now), now)
        for entry, verdict in admission.released(now):
            settle(entry, verdict, now)
    return run


def poisson(rate: float, until: float, draw: random.Random, first_id: int, **entry: object) -> list[Arrival]:
    found, now = [], 0.0
    while (now := now + draw.expovariate(rate)) < until:
        given_: dict[str, object] = {"tokens": 100, **entry}
        timeout = given_.pop("timeout", None)
        deadline = None if timeout is None else now + timeout  # type: ignore[operator]
        made = Entry(first_id + len(found), MODEL, arrived=now, deadline=deadline, **given_)  # type: ignore[arg-type]
        found.append(Arrival(now, made))
    return found


amounts = st.lists(st.tuples(st.floats(0, 30), st.floats(0, 50)), max_size=40)


@given(per_minute=st.integers(1, 1000), steps=amounts)
def test_a_bucket_lets_a_minutes_worth_through_and_then_its_rate(
    per_minute: int, steps: list[tuple[float, float]]
) -> None:
    bucket = Bucket(per_minute, 0.0)
    now, taken = 0.0, 0.0
    for pause_s, amount in steps:
        now += pause_s
        amount = min(amount, float(per_minute))
        wait_s = bucket.wait_s(amount, now)
        if wait_s == 0.0:
            bucket.take(amount, now)
            taken += amount
            assert taken <= per_minute * (1 + now / 60) + 1e-6
        else:
            now += wait_s + 1e-9
            assert bucket.wait_s(amount, now) <= 1e-6


@given(
    asks=st.lists(st.tuples(st.floats(0, 5), st.integers(1, 400), st.integers(0, 800)), min_size=1, max_size=60),
    tokens=st.integers(100, 2000),
    concurrency=st.integers(1, 4),
)
def test_tokens_that_were_used_count_and_reserved_ones_do_not(
    asks: list[tuple[float, int, int]], tokens: int, concurrency: int
) -> None:
    """Whatever was estimated: what was really used stays within the limit, but for what is under way."""
    limits = Limits(tokens_per_minute=tokens, concurrency=concurrency)
    key = key_of("p", limits=limits)
    admission = Admission()
    admission.set_limits([key], [], 0.0)
    now, used_in_all, most = 0.0, 0, 0
    under_way: list[tuple[Entry, int]] = []
    for number, (pause_s, asked, used) in enumerate(asks):
        now += pause_s
        entry = Entry(number, MODEL, arrived=now, tokens=asked, max_tokens=50, key=key)
        verdict = admission.ask(entry, now)
        if isinstance(verdict, Refused):
            assert verdict.status == 429
            assert verdict.retry_after_s is not None
            assert verdict.retry_after_s > 0
        else:
            under_way.append((entry, used))
        assert len(under_way) <= concurrency
        if len(under_way) == concurrency or isinstance(verdict, Refused):
            for done, really in under_way:
                admission.ended(done, now, input_tokens=0, output_tokens=really)
                used_in_all += really
                most = max(most, really)
            under_way.clear()
            # each round may overshoot by what its requests used beyond their estimates, and no more
            assert used_in_all <= tokens * (1 + now / 60) + concurrency * (most + 50)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    load=st.floats(0.3, 4.0),
    room=st.integers(1, 8),
    timeout=st.floats(1.2, 6.0),
    limit=st.none() | st.integers(1, 200),
)
def test_everybody_is_answered_or_refused_and_nobody_late_by_much(
    seed: int, load: float, room: int, timeout: float, limit: int | None
) -> None:
    draw = random.Random(seed)
    admission = Admission()
    admission.set_policies({MODEL: AdmissionPolicy(room=room)})
    keys = [key_of("a", limits=Limits(requests_per_minute=limit)), key_of("b")]
    admission.set_limits(keys, [ProjectLimits(project=Project("b"), weight=3.0)], 0.0)
    arrivals = []
    for number, key in enumerate(keys):
        arrivals += poisson(load * room / 2, 40.0, draw, number * 100_000, key=key, timeout=timeout)
    run = simulate(admission, arrivals, 1.0)
    assert run.answered_at.keys() | run.refused.keys() == {arrival.entry.id for arrival in arrivals}
    assert not run.answered_at.keys() & run.refused.keys()
    assert run.most_at_once <= room
    for arrival in arrivals:
        entry = arrival.entry
        if entry.id in run.refused:
            assert run.refused_at[entry.id] <= arrival.at + timeout
            assert run.refused[entry.id].status in (429, 503)
    # once it knows how long an answer takes, none that is let in comes late
    for entry in run.went[10 + room :]:
        assert entry.deadline is not None
        assert run.answered_at[entry.id] <= entry.deadline + 1e-6
    assert admission.waiting(MODEL) == 0
    admission.set_policies({})
    assert not admission._lines, "nothing is left behind"


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32), weight=st.floats(0.5, 4.0), sizes=st.tuples(st.integers(10, 500), st.integers(10, 500))
)
def test_two_that_always_want_more_share_by_weight_and_tokens(seed: int, weight: float, sizes: tuple[int, int]) -> None:
    draw = random.Random(seed)
    admission = Admission()
    admission.set_policies({MODEL: AdmissionPolicy(room=4, max_wait_s=1000.0)})
    keys = [key_of("a"), key_of("b")]
    admission.set_limits(keys, [ProjectLimits(project=Project("b"), weight=weight)], 0.0)
    arrivals = []
    for number, (key, tokens) in enumerate(zip(keys, sizes, strict=True)):
        entries = [
            Entry(number * 10_000 + each, MODEL, arrived=0.0, tokens=tokens, max_tokens=0, key=key)
            for each in range(2000)
        ]
        arrivals += [Arrival(0.0, entry) for entry in entries]
    run = simulate(admission, arrivals, draw, used=0)
    while_both_wait = run.went[: max(1, min(run.went.index(entry) for entry in _lasts(run, keys)) - 8)]
    given_ = {key.project: sum(entry.tokens for entry in while_both_wait if entry.key is key) for key in keys}
    share_b = given_[Project("b")] / max(1, sum(given_.values()))
    assert abs(share_b - weight / (1 + weight)) < 0.05 + 6 * max(sizes) / max(1, sum(given_.values()))


def _lasts(run: Run, keys: list[ApiKey]) -> list[Entry]:
    return [next(entry for entry in reversed(run.went) if entry.key is key) for key in keys]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), flood=st.floats(1.5, 10.0))
def test_a_modest_project_does_not_feel_a_flood(seed: int, flood: float) -> None:
    draw = random.Random(seed)
    admission = Admission()
    room = 8
    admission.set_policies({MODEL: AdmissionPolicy(room=room)})
    keys = [key_of("flood"), key_of("modest")]
    admission.set_limits(keys, [], 0.0)
    modest = poisson(0.25 * room, 60.0, draw, 500_000, key=keys[1], timeout=4.0)
    arrivals = [*poisson(flood * room, 60.0, draw, 0, key=keys[0], timeout=4.0), *modest]
    run = simulate(admission, arrivals, draw)
    in_time = sum(run.answered_at.get(arrival.entry.id, 1e9) <= (arrival.entry.deadline or 0) for arrival in modest)
    assert in_time >= 0.97 * len(modest) - 2


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), abandoned=st.floats(0.0, 0.5))
def test_a_higher_priority_goes_first_and_those_who_leave_leave_nothing(seed: int, abandoned: float) -> None:
    draw = random.Random(seed)
    admission = Admission()
    admission.set_policies({MODEL: AdmissionPolicy(room=1, max_wait_s=1e6)})
    keys = [key_of("low", priority=-1), key_of("high", priority=5)]
    admission.set_limits(keys, [], 0.0)
    first = Entry(10_000, MODEL, arrived=0.0, tokens=5, key=keys[0])
    assert isinstance(admission.ask(first, 0.0), Go)
    held = [Entry(number, MODEL, arrived=0.0, tokens=5, key=draw.choice(keys)) for number in range(60)]
    for entry in held:
        assert isinstance(admission.ask(entry, 0.0), Held)
    stay = []
    for entry in held:
        if draw.random() < abandoned:
            admission.withdrawn(entry, 0.0)
            admission.withdrawn(entry, 0.0)
        else:
            stay.append(entry)
    assert admission.waiting(MODEL) == len(stay)
    order, current, now = [], first, 0.0
    for _ in stay:
        now += 1.0
        admission.ended(current, now, ending=Ending.ABANDONED)
        ((current, verdict),) = admission.released(now)
        assert isinstance(verdict, Go)
        order.append(current)
    assert sorted(order, key=lambda entry: (-entry.priority, entry.id)) == order
    assert sorted(entry.id for entry in order) == sorted(entry.id for entry in stay)
