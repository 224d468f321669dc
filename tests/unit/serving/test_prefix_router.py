"""Late binding by cached prefixes: where tickets go, in which order, and what is remembered."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Sequence

import pytest

from ampacity.serving.routing import Engine, EngineId, PrefillCost, Prefix, Settings, Ticket, TicketId
from ampacity.serving.routing.bound import Bound
from ampacity.serving.routing.caches import LEAST_BLOCKS, Caches
from ampacity.serving.routing.cost import Speed
from ampacity.serving.routing.plan import Job, starts

PLAIN = PrefillCost(linear_s=0.001, quadratic_s=0.0)
NAMES = [EngineId(name) for name in "abcd"]


def router(engines: int = 2, **changed: object) -> Prefix:
    """A token costs a millisecond, a block has a hundred; each engine prefills one prompt at a time."""
    settings: dict[str, object] = {"block_tokens": 100, "cost": PLAIN, "lead_s": 0.0, "instant_s": 0.0, "learn": False}
    made = Prefix(Settings(**{**settings, **changed}))  # type: ignore[arg-type]
    made.set_engines([Engine(id=name) for name in NAMES[:engines]], 0.0)
    return made


def ticket(number: int, blocks: Sequence[int], *, arrived: float = 0.0, tokens: int = 0) -> Ticket:
    chain = [hash((0, *blocks[: end + 1])) for end in range(len(blocks))]
    return Ticket(TicketId(number), arrived=arrived, tokens=tokens or 100 * len(blocks), blocks=chain)


def sent(made: Prefix, *tickets: Ticket, now: float) -> dict[int, EngineId]:
    """Offer them; where they go at once."""
    found = {each.id: made.offer(each, now) for each in tickets}
    found |= {each.id: engine for each, engine in made.released(now)}
    return {id: engine for id, engine in found.items() if engine is not None}


def done(made: Prefix, number: int, now: float, *, cached_tokens: int | None = None) -> dict[int, EngineId]:
    made.answered(TicketId(number), now)
    made.ended(TicketId(number), now, cached_tokens=cached_tokens)
    return {each.id: engine for each, engine in made.released(now)}


def test_nothing_is_kept_of_whole_answers_that_have_come() -> None:
    """Each was thought to prefill for a second, and was answered long before that."""
    made = router(learn=True)
    for number in range(2000):
        now = number * 1e-4
        asked = Ticket(TicketId(number), arrived=now, tokens=1000, blocks=(), streams=False)
        assert made.offer(asked, now) is not None
        made.ended(TicketId(number), now)
    gc.collect()
    assert sum(isinstance(each, Bound) for each in gc.get_objects()) < 200


def test_a_prompt_goes_where_its_beginning_is_cached() -> None:
    made = router()
    first = sent(made, ticket(0, range(10)), now=0.0)[0]
    done(made, 0, 1.0)
    assert sent(made, ticket(1, range(12)), now=2.0) == {1: first}


def test_it_waits_for_that_engine_when_that_is_sooner_and_goes_elsewhere_when_not() -> None:
    made = router()
    home = sent(made, ticket(0, range(30)), now=0.0)[0]
    done(made, 0, 3.0)
    assert sent(made, ticket(1, [*range(30), *range(100, 105)], arrived=3.0), now=3.0) == {1: home}
    assert sent(made, ticket(2, [*range(30), *range(200, 210)], arrived=3.1), now=3.1) == {}, "1.4 s, not 4 s"
    assert done(made, 1, 3.5) == {2: home}
    assert sent(made, ticket(3, [0, 1, 300], arrived=3.5), now=3.5)[3] != home, "0.3 s, not 1.1 s"


def test_a_block_that_all_share_draws_nobody() -> None:
    made = router(4)
    places: Counter[EngineId] = Counter()
    for turn in range(10):
        found = sent(made, *(ticket(4 * turn + each, [0, 1 + 4 * turn + each]) for each in range(4)), now=float(turn))
        places.update(found.values())
        for number in found:
            done(made, number, turn + 0.5)
    assert set(places.values()) == {10}


def test_short_prompts_first_but_nobody_waits_for_ever() -> None:
    made = router(1)
    sent(made, ticket(0, [900]), now=0.0)
    sent(made, ticket(1, range(50)), ticket(2, [901, 902, 903]), ticket(3, [904]), now=0.0)
    assert list(done(made, 0, 0.1)) == [3]
    assert list(done(made, 3, 0.2)) == [2]
    number, now = 10, 0.5
    while sent(made, ticket(number, [number, number], arrived=now), now=now) == {} and now < 60.0:
        before = done(made, 2 if number == 10 else number - 1, now)
        if 1 in before:
            break
        number, now = number + 1, now + 0.2
    assert 1 in before, "short prompts came without end, and the long one still got its turn"
    assert now < 30.0


def test_what_an_engine_reports_shrinks_what_is_believed_of_it() -> None:
    made = router(1)
    for number in range(60):
        sent(
            made,
            ticket(number, [7, *range(1000 * number, 1000 * number + 9)], arrived=float(number)),
            now=float(number),
        )
        done(made, number, number + 0.9)
    believed = made.index_blocks
    for number in range(60, 80):
        sent(made, ticket(number, [7, *range(59_000, 59_009)], arrived=float(number)), now=float(number))
        done(made, number, number + 0.9, cached_tokens=0)
    assert made.index_blocks < believed / 2


def test_an_engine_that_comes_anew_has_nothing_cached() -> None:
    made = router()
    home = sent(made, ticket(0, range(10)), now=0.0)[0]
    done(made, 0, 1.0)
    other = next(name for name in NAMES[:2] if name != home)
    made.set_engines([Engine(id=other)], 2.0)
    assert made.index_blocks == 0
    made.set_engines([Engine(id=other), Engine(id=home)], 3.0)
    assert made.index_blocks == 0


def test_the_speed_of_each_engine_is_learned() -> None:
    made = router(learn=True)
    slow = NAMES[0]
    now = 0.0
    for number in range(0, 40, 2):
        found = sent(made, ticket(number, [number]), ticket(number + 1, [number + 1]), now=now)
        while found:
            id, engine = found.popitem()
            now += 0.4 if engine == slow else 0.1
            found |= done(made, id, now)
    fast = sent(made, ticket(100, [100], arrived=now), now=now)
    assert fast == {100: NAMES[1]}
    assert sent(made, ticket(101, [101], arrived=now), now=now) == {}, "0.2 s there are sooner than 0.4 s here"


def test_tickets_that_no_order_could_help_are_bound_as_they_come() -> None:
    made = router(2, instant_s=0.25, lead_s=0.5)
    assert made.offer(ticket(0, [1, 2]), 0.0) is not None
    assert made.offer(ticket(1, [1, 2, 3, 4, 5]), 0.0) is None
    assert len(made.released(0.0)) == 1


def test_the_index_is_bounded_over_all_engines() -> None:
    made = router(4, engine_blocks=1000, most_blocks=400)
    for number in range(200):
        sent(made, ticket(number, range(50 * number, 50 * number + 50)), now=float(number))
        done(made, number, number + 0.9)
    assert made.index_blocks <= 400


def test_the_matches_of_all_engines_come_from_one_walk() -> None:
    caches = Caches(engine_blocks=100, most_blocks=1000, memory_s=300.0)
    caches.resize(3)
    caches.enter(0, [1, 2, 3], 0.0)
    caches.enter(1, [1], 0.0)
    assert caches.levels([1, 2, 3, 4]) == [(0, 0b100), (1, 0b010), (3, 0b001)]
    assert caches.levels([]) == [(0, 0b111)]
    assert [caches.depth(slot, [1, 2, 3, 4]) for slot in range(3)] == [3, 1, 0]
    assert caches.enter(0, [1, 2, 3], 0.0) == 0.0, "they were just there: no new claims"
    assert 0.6 < caches.enter(1, [1], 300.0) < 0.7


def test_a_cache_that_holds_less_is_believed_to_and_never_less_than_a_little() -> None:
    caches = Caches(engine_blocks=100, most_blocks=1000, memory_s=300.0)
    caches.resize(1)
    caches.enter(0, range(100), 0.0)
    for _ in range(100):
        caches.correct(0, expected=90, reported=0)
    assert caches.blocks == LEAST_BLOCKS
    for _ in range(300):
        caches.correct(0, expected=10, reported=10)
    caches.enter(0, range(1000), 1.0)
    assert caches.blocks == 100


def test_a_speed_is_a_ratio_of_sums() -> None:
    speed = Speed()
    for _ in range(300):
        speed.saw(2.0, 1.0)
        speed.saw(0.0, 0.01)
    assert speed.factor == pytest.approx(2.0, rel=0.05)


def test_an_exchange_betters_the_plan() -> None:
    """The first in the order can go anywhere, the second only here: so the second goes first here."""
    anywhere = Job(1, [0, 1], [1.0, 1.0], [1.0, 1.05])
    here = Job(2, [0, 1], [1.1, 9.0], [1.1, 9.0])
    awaited: dict[int, float] = {}
    assert starts(iter([anywhere, here]), {0: 0.0, 1: 0.0}, 0.0, awaited) == [(2, 0), (1, 1)]
    assert starts(iter([here]), {0: 0.5, 1: 0.0}, 0.0, awaited) == []
    assert awaited == {0: pytest.approx(1.1)}


def test_a_prefill_that_nobody_reports_is_thought_to_be_done_in_its_time() -> None:
    made = router(1)
    silent = ticket(0, [1, 2])
    silent.streams = False
    sent(made, silent, now=0.0)
    assert sent(made, ticket(1, [3]), now=0.0) == {}
    assert made.next_wake(0.0) == pytest.approx(0.2)
    assert [each.id for each, _ in made.released(0.2)] == [1]


def test_nobody_is_held_by_a_guess_of_an_engines_speed() -> None:
    made = router(1, learn=True)
    assert set(sent(made, *(ticket(number, [number]) for number in range(5)), now=0.0)) == set(range(5))
    made.answered(TicketId(0), 0.1)
    assert sent(made, ticket(9, [9]), now=0.1) == {}, "its speed is known now, and it has enough to do"
