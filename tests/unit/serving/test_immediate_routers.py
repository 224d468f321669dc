"""Routers that bind at once: round robin, least loaded, session."""

from __future__ import annotations

from collections import Counter

import pytest

from ampacity.serving.routing import ROUTERS, Engine, EngineId, Router, Ticket, TicketId

A, B, C = (EngineId(name) for name in "abc")


def router(name: str, *engines: Engine) -> Router:
    made = ROUTERS[name]()
    made.set_engines(engines or [Engine(id=each) for each in (A, B, C)], 0.0)
    return made


def ticket(number: int, *, session: int = 0, priority: int = 0, excluded: tuple[EngineId, ...] = ()) -> Ticket:
    return Ticket(
        TicketId(number), arrived=float(number), session=session, priority=priority, excluded=frozenset(excluded)
    )


def offered(made: Router, numbers: range, *, session: int = 0) -> list[EngineId | None]:
    return [made.offer(ticket(number, session=session), float(number)) for number in numbers]


def test_the_least_loaded_takes_the_next() -> None:
    made = router("least_loaded")
    assert set(offered(made, range(3))) == {A, B, C}
    busy = made.offer(ticket(3), 3.0)
    assert busy is not None
    assert busy not in offered(made, range(4, 6))


def test_of_equally_loaded_the_one_that_served_fewest() -> None:
    made = router("least_loaded")
    for number in range(9):
        assert made.offer(ticket(number), 0.0) == (A, B, C)[number % 3]
        made.ended(TicketId(number), 0.0)


def test_weights_say_how_much_an_engine_takes() -> None:
    for name in ("least_loaded", "round_robin"):
        made = router(name, Engine(id=A, weight=2.0), Engine(id=B), Engine(id=C))
        assert Counter(offered(made, range(40))) == {A: 20, B: 10, C: 10}, name


def test_turns_are_evenly_spread() -> None:
    made = router("round_robin", Engine(id=A, weight=2.0), Engine(id=B), Engine(id=C))
    assert "".join(each or "?" for each in offered(made, range(8))) == "abcaabca"


def test_a_session_stays_where_it_is_and_moves_only_with_its_engine() -> None:
    made = router("session")
    homes = {}
    for session in range(1, 100):
        homes[session] = made.offer(ticket(session, session=session), 0.0)
        made.ended(TicketId(session), 0.0)
    assert set(homes.values()) == {A, B, C}
    made.set_engines([Engine(id=A), Engine(id=C)], 0.0)
    for session, home in homes.items():
        now = made.offer(ticket(session, session=session), 0.0)
        made.ended(TicketId(session), 0.0)
        assert now == home or home == B


def test_a_session_that_is_too_busy_spills_over() -> None:
    made = router("session")
    spread = Counter(offered(made, range(60), session=7))
    assert set(spread) == {A, B, C}
    assert max(spread.values()) <= 1.25 * 61 / 3 + 1


def test_tickets_without_a_session_go_to_the_least_loaded() -> None:
    assert set(offered(router("session"), range(3))) == {A, B, C}


@pytest.mark.parametrize("name", ROUTERS)
def test_one_that_failed_is_left_alone_ever_longer_until_others_are_too(name: str) -> None:
    made = router(name, Engine(id=A), Engine(id=B))
    now, number = 100.0, 0
    for pause in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0):
        assert made.offer(ticket(number, excluded=(B,)), now) == A
        made.ended(TicketId(number), now, failed=True)
        assert {made.offer(ticket(number + each), now + pause * 0.99) for each in range(1, 9)} == {B}
        for each in range(1, 9):
            made.ended(TicketId(number + each), now + pause * 0.99)
        number, now = number + 9, now + pause
    assert made.offer(ticket(number, excluded=(B,)), now - 1.0) == A, "set aside, but there is no other"
    made.answered(TicketId(number), now - 1.0)
    made.ended(TicketId(number), now - 1.0)
    made.offer(ticket(number + 1, excluded=(B,)), now)
    made.ended(TicketId(number + 1), now, failed=True)
    seen = {made.offer(ticket(number + 2 + each), now + 0.25) for each in range(8)}
    assert A in seen or name == "session", "it had answered: forgiven, so the first pause again"


@pytest.mark.parametrize("name", ROUTERS)
def test_what_nobody_can_take_is_held_until_somebody_can(name: str) -> None:
    made = router(name, Engine(id=A, concurrency=1), Engine(id=B, concurrency=1))
    assert set(offered(made, range(2))) == {A, B}
    assert made.offer(ticket(2), 2.0) is None
    assert made.offer(ticket(3, priority=1), 3.0) is None
    assert made.offer(ticket(4), 4.0) is None
    assert made.released(4.0) == []
    made.withdrawn(TicketId(2), 4.0)
    made.ended(TicketId(0), 5.0)
    assert [each.id for each, _ in made.released(5.0)] == [3]
    made.set_engines([Engine(id=A, concurrency=1), Engine(id=B, concurrency=1), Engine(id=C)], 6.0)
    assert [(each.id, engine) for each, engine in made.released(6.0)] == [(4, C)]


@pytest.mark.parametrize("name", ROUTERS)
def test_an_engine_that_left_and_came_back_is_still_as_busy(name: str) -> None:
    made = router(name, Engine(id=A, concurrency=1))
    assert made.offer(ticket(0), 0.0) == A
    made.set_engines([], 1.0)
    assert made.offer(ticket(1), 1.0) is None
    made.set_engines([Engine(id=A, concurrency=1)], 2.0)
    assert made.released(2.0) == []
    made.ended(TicketId(0), 3.0)
    assert [each.id for each, _ in made.released(3.0)] == [1]
