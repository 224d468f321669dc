"""Admission's single rules: budgets by the calendar, limits and what they say, brown-outs, deadlines."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ampacity.model.access import ApiKey, Budget, BudgetPeriod, Limits, ProjectLimits, digest_of, key_id
from ampacity.model.ids import Project
from ampacity.model.service_terms import BrownOut
from ampacity.serving.admission import (
    GO,
    HELD,
    Admission,
    AdmissionPolicy,
    Ending,
    Entry,
    Go,
    Refused,
    Verdict,
)
from ampacity.serving.admission.account import period_end, period_start

MODEL = "big"


def key(name: str = "alice", **limits: object) -> ApiKey:
    digest = digest_of(name)
    made = Limits(**limits)  # type: ignore[arg-type]
    return ApiKey(id=key_id(digest), name=name, digest=digest, limits=made, project=Project("p"))


class Desk:
    """An admission with a clock and numbers for requests."""

    def __init__(
        self, policy: AdmissionPolicy | None = None, *keys: ApiKey, rows: tuple[ProjectLimits, ...] = ()
    ) -> None:
        self.admission = Admission()
        self.admission.set_policies({MODEL: policy or AdmissionPolicy(), "small": AdmissionPolicy()})
        self.admission.set_limits(keys, rows, 0.0)
        self.now, self.last = 0.0, 0

    def entry(self, **more: object) -> Entry:
        self.last += 1
        known: dict[str, object] = {"tokens": 10, "max_tokens": 0, **more}
        return Entry(self.last, MODEL, arrived=self.now, **known)  # type: ignore[arg-type]

    def ask(self, **more: object) -> tuple[Entry, Verdict]:
        entry = self.entry(**more)
        return entry, self.admission.ask(entry, self.now)

    def refused(self, **more: object) -> Refused:
        _, verdict = self.ask(**more)
        assert isinstance(verdict, Refused)
        return verdict

    def serve(self, takes_s: float = 1.0, **more: object) -> None:
        entry, verdict = self.ask(**more)
        assert isinstance(verdict, Go)
        self.now += takes_s
        self.admission.ended(entry, self.now, output_tokens=10)

    def teach(self, takes_s: float = 1.0) -> None:
        for _ in range(30):
            self.serve(takes_s, max_tokens=None)


def test_requests_and_tokens_a_minute_and_requests_at_once() -> None:
    alice = key(requests_per_minute=6, tokens_per_minute=1000, concurrency=2)
    desk = Desk(None, alice)
    one, _ = desk.ask(key=alice)
    desk.ask(key=alice)
    busy = desk.refused(key=alice)
    assert (busy.status, busy.code) == (429, "concurrency_limit_exceeded")
    assert busy.message == "The key 'alice' may have 2 requests under way, and has."
    desk.admission.ended(one, desk.now, input_tokens=10, output_tokens=890)
    spent = desk.refused(key=alice, tokens=400)
    assert "1000 tokens a minute" in spent.message
    assert spent.retry_after_s == pytest.approx((400 - (1000 - 900 - 10)) * 60 / 1000)
    for _ in range(4):
        desk.serve(0.0, key=alice, tokens=0)
    often = desk.refused(key=alice, tokens=0)
    assert (often.code, often.retry_after_s) == ("rate_limit_exceeded", 10.0)
    desk.now += 10.0
    assert desk.ask(key=alice, tokens=0)[1] == GO


def test_more_than_a_minutes_worth_passes_alone_and_is_paid_for_afterwards() -> None:
    alice = key(tokens_per_minute=100)
    desk = Desk(None, alice)
    desk.serve(0.0, key=alice, tokens=300)
    assert desk.refused(key=alice, tokens=1).retry_after_s == pytest.approx((300 + 10 - 100 + 1) * 0.6)


def test_a_project_holds_all_its_keys_together_and_what_failed_counts_for_nothing() -> None:
    row = ProjectLimits(project=Project("p"), limits=Limits(concurrency=2, tokens_per_minute=100))
    alice, bob = key("alice"), key("bob")
    desk = Desk(None, alice, bob, rows=(row,))
    first, _ = desk.ask(key=alice, tokens=60)
    assert "project 'p' may use 100 tokens" in desk.refused(key=bob, tokens=60).message
    desk.admission.ended(first, desk.now, ending=Ending.FAILED)
    for each in (alice, bob):
        assert desk.ask(key=each, tokens=50)[1] == GO
    assert "project 'p' may have 2 requests" in desk.refused(key=bob, tokens=0).message


def test_limits_that_change_keep_what_was_used_and_a_revoked_keys_request_ends_in_order() -> None:
    alice = key(tokens_per_minute=100, concurrency=1)
    desk = Desk(None, alice)
    entry, _ = desk.ask(key=alice, tokens=50)
    wider = key(tokens_per_minute=1000, concurrency=2)
    desk.admission.set_limits([wider], [], desk.now)
    assert desk.refused(key=wider, tokens=501).code == "rate_limit_exceeded"
    assert desk.ask(key=wider, tokens=500)[1] == GO
    assert desk.refused(key=wider, tokens=0).code == "concurrency_limit_exceeded"
    desk.admission.set_limits([], [], desk.now)
    desk.admission.ended(entry, desk.now, input_tokens=1, output_tokens=1)


NOON = datetime(2026, 12, 31, 12, 30, tzinfo=UTC).timestamp()


def test_a_budget_is_spent_and_begins_anew_by_the_calendar() -> None:
    alice = key(budget=Budget(amount=2.0, period=BudgetPeriod.DAY))
    desk = Desk(None, alice)
    desk.admission.wall_offset = NOON
    for _ in range(2):
        entry, verdict = desk.ask(key=alice)
        assert verdict == GO
        desk.admission.ended(entry, desk.now, output_tokens=5, money=1.0)
    refused = desk.refused(key=alice)
    assert (refused.status, refused.code) == (429, "insufficient_quota")
    assert refused.message == "The key 'alice' has spent its budget of 2. It begins anew at 2027-01-01 00:00 UTC."
    assert refused.retry_after_s == pytest.approx(11.5 * 3600)
    desk.now += 11.5 * 3600
    assert desk.ask(key=alice)[1] == GO
    desk.admission.set_spent({alice.id: 1.5}, {}, desk.now)
    desk.admission.set_spent({alice.id: 0.5}, {}, desk.now)
    assert desk.ask(key=alice)[1] == GO
    desk.admission.set_spent({alice.id: 2.5}, {Project("unknown"): 3.0}, desk.now)
    assert desk.refused(key=alice).code == "insufficient_quota"


def test_a_budget_in_all_never_begins_anew() -> None:
    alice = key(budget=Budget(amount=1.0))
    desk = Desk(None, alice)
    desk.admission.set_spent({alice.id: 1.0}, {}, desk.now)
    refused = desk.refused(key=alice)
    assert (refused.retry_after_s, "anew" in refused.message) == (None, False)


def test_periods_of_budgets() -> None:
    assert (period_start(BudgetPeriod.TOTAL, NOON), period_end(BudgetPeriod.TOTAL, NOON)) == (0.0, float("inf"))
    midnight = datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    assert period_end(BudgetPeriod.DAY, NOON) == midnight == period_end(BudgetPeriod.MONTH, NOON)
    assert period_start(BudgetPeriod.DAY, NOON) == NOON - 12.5 * 3600
    assert period_start(BudgetPeriod.MONTH, NOON) == datetime(2026, 12, 1, tzinfo=UTC).timestamp()


def test_who_cannot_be_answered_in_time_is_told_at_once() -> None:
    desk = Desk(AdmissionPolicy(room=2, max_wait_s=3.0))
    desk.teach(1.0)
    held = [desk.ask(max_tokens=None)[1] for _ in range(4)]
    assert held == [GO, GO, HELD, HELD]
    refused = desk.refused(max_tokens=None, deadline=desk.now + 1.4)
    assert (refused.status, refused.code) == (503, "deadline_exceeded")
    assert refused.retry_after_s is not None
    assert "timeout leaves 1.4 s" in refused.message
    assert desk.ask(max_tokens=None, deadline=desk.now + 10.0)[1] == HELD
    assert desk.refused(deadline=desk.now).code == "deadline_exceeded"
    while desk.ask(max_tokens=None)[1] == HELD:
        assert desk.last < 100
    assert desk.refused(max_tokens=None).code == "overloaded"


def test_whose_time_is_up_in_line_is_refused_then() -> None:
    desk = Desk(AdmissionPolicy(room=1, max_wait_s=5.0))
    desk.ask()
    patient, _ = desk.ask()
    hasty, verdict = desk.ask(deadline=desk.now + 2.0)
    assert verdict == HELD
    assert desk.admission.next_wake() == 2.0
    desk.now = 2.0
    ((entry, refused),) = desk.admission.released(desk.now)
    assert entry is hasty
    assert isinstance(refused, Refused)
    assert "stood in line for 'big' for 2.0 s" in refused.message
    assert desk.admission.next_wake() == 5.0
    desk.now = 5.0
    assert [entry for entry, _ in desk.admission.released(desk.now)] == [patient]
    assert desk.admission.next_wake() is None


def test_a_model_that_is_gone_is_forgotten_once_nobody_waits_for_it() -> None:
    desk = Desk(AdmissionPolicy(room=1))
    under_way, _ = desk.ask()
    waiting, verdict = desk.ask()
    assert verdict == HELD
    desk.admission.set_policies({})
    desk.admission.withdrawn(waiting, desk.now)
    desk.admission.ended(under_way, desk.now)
    desk.admission.set_policies({})
    assert desk.admission.released(desk.now) == []
    assert desk.admission.next_wake() is None
    desk.admission.set_policies({MODEL: AdmissionPolicy(room=1)})
    assert [desk.ask()[1] for _ in range(2)] == [GO, HELD]


def test_what_was_learned_wrongly_is_unlearned() -> None:
    """A slow spell must not shut out those with shorter timeouts for ever."""
    desk = Desk()
    desk.teach(60.0)
    for _ in range(200):
        desk.serve(0.5, max_tokens=None, deadline=desk.now + 2.0)
    under_way, _ = desk.ask(max_tokens=None)
    assert desk.ask(max_tokens=None, deadline=desk.now + 2.0)[1] == GO
    desk.admission.ended(under_way, desk.now)


def test_in_a_brown_out_answers_are_cut_or_another_model_gives_them() -> None:
    desk = Desk(AdmissionPolicy(room=1, brown_out=BrownOut(after_s=0.5, max_tokens=64)))
    desk.teach(1.0)
    first, verdict = desk.ask()
    assert verdict == GO
    cut, verdict = desk.ask(max_tokens=None)
    assert verdict == HELD
    short, _ = desk.ask(max_tokens=16)
    desk.now += 1.0
    desk.admission.ended(first, desk.now)
    assert desk.admission.released(desk.now) == [(cut, Go(max_tokens=64))]
    desk.admission.ended(cut, desk.now)
    assert desk.admission.released(desk.now) == [(short, Go(max_tokens=16))]

    desk = Desk(AdmissionPolicy(room=1, brown_out=BrownOut(after_s=0.5, model="small")))
    desk.teach(1.0)
    desk.ask()
    entry, verdict = desk.ask()
    assert verdict == Go(model="small")
    assert entry.model == "small"
    desk.admission.ended(entry, desk.now, output_tokens=3)
    assert desk.admission.waiting(MODEL) == 0


def test_without_room_to_keep_nobody_waits() -> None:
    desk = Desk()
    assert [desk.ask()[1] for _ in range(500)] == [GO] * 500
    assert desk.admission.next_wake() is None
    assert desk.admission.released(desk.now) == []
