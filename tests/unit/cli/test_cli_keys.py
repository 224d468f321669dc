"""``ampacity keys``: a key is shown once, limits are changed one by one, and who gets in is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cli_client_double import ClientDouble

from ampacity.api.answers import UsageReport
from ampacity.model.access import Budget, BudgetPeriod, Limits
from ampacity.model.request_usage import RequestSum

Amp = Callable[..., Any]


def test_a_key_is_made_shown_once_listed_and_revoked(amp: Amp, client: ClientDouble) -> None:
    assert "open to all" in amp("keys").stderr
    assert "no key was made" in amp("status").stdout
    made = amp("keys", "create", "alice", "--model", "writer", "--expires", "30d", "--budget", "20/month")
    assert made.exit_code == 0, made.stderr
    assert made.stdout == "amp-alice\n"
    assert "lets nobody in without a key" in made.stderr
    assert "first" not in amp("keys", "create", "bob").stderr
    assert "2 keys open it" in amp("status").stdout
    shown = amp("keys").stdout
    for word in ("alice", "…wxyz", "writer", "left", "budget 20 a month"):
        assert word in shown
    assert "amp-alice" not in shown
    assert amp("keys", "revoke", "alice", "bob").stdout == "alice: revoked\nbob: revoked\n"
    assert "nobody of it gets in" in amp("keys").stderr
    assert "revoked" in amp("keys", "list", "--all").stdout
    again = amp("keys", "revoke", "alice")
    assert (again.exit_code, "was revoked" in again.stderr) == (2, True)


def test_limits_that_are_not_named_stay(amp: Amp, amp_json: Callable[..., Any], client: ClientDouble) -> None:
    amp("keys", "create", "alice", "--requests-per-minute", "60", "--budget", "1.50/day")
    changed = amp("keys", "limit", "alice", "--tokens-per-minute", "100k", "--concurrency", "4")
    assert changed.stdout == "alice: 60 requests/min, 100000 tokens/min, 4 at once, budget 1.5 a day\n"
    amp("keys", "limit", "alice", "--requests-per-minute", "none", "--budget", "none")
    (key,) = client.api_keys()
    assert key.limits == Limits(tokens_per_minute=100_000, concurrency=4)
    row = amp_json("keys", "limit", "--whole-project", "--weight", "2", "--budget", "7")
    assert row["weight"] == 2
    assert client.limits().limits.budget == Budget(amount=7, period=BudgetPeriod.TOTAL)
    amp("keys", "limit", "--whole-project", "--concurrency", "9")
    assert (client.limits().weight, client.limits().limits.concurrency) == (2, 9)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("create", "a b"), "cannot be the name"),
        (("create", "a", "--budget", "much"), "20/month"),
        (("create", "a", "--budget", "nan"), "more than 0"),
        (("create", "a", "--requests-per-minute", "0"), "whole number"),
        (("create", "a", "--expires", "soon"), "soon"),
        (("limit", "nobody", "--concurrency", "1"), "no key 'nobody'"),
        (("limit",), "--whole-project"),
        (("limit", "a", "--weight", "2"), "--whole-project"),
        (("limit", "--whole-project", "--weight", "0"), "more than 0"),
    ],
)
def test_what_is_wrong_is_said(amp: Amp, client: ClientDouble, args: tuple[str, ...], words: str) -> None:
    result = amp("keys", *args)
    assert result.exit_code == 2
    assert words in result.stderr


def test_usage_is_told_by_what_is_asked_for(amp: Amp, amp_json: Callable[..., Any], client: ClientDouble) -> None:
    assert "Nothing was used in the last 30d." in amp("usage").stderr
    one = RequestSum(
        start=1_790_035_200,
        key="k1",
        model="writer",
        requests=1200,
        failed=3,
        input_tokens=10_000,
        cached_tokens=2_500,
        output_tokens=400,
        ttft_s=240.0,
        ttft_count=1200,
        total_s=24.0,
        money=7.125,
    )
    client.report = UsageReport(sums=(one,), names={"k1": "alice"}, lost=2)
    result = amp("usage", "--by", "day", "--by", "key", "--since", "7d")
    heads, cells = (line.split() for line in result.stdout.splitlines())
    assert heads == "FROM KEY MODEL REQUESTS FAILED INPUT CACHED OUTPUT TTFT TIME COST".split()  # noqa: SIM905
    assert cells == "2026-09-22 alice writer 1.2K 3 10K 25% 400 0.20s 20ms 7.125".split()  # noqa: SIM905
    assert "2 requests was lost" in result.stderr
    assert amp_json("usage", "--all-projects")["sums"][0]["money"] == 7.125
    _, by, since, all_projects = client.calls[-2]
    assert (by, all_projects, since % 3600) == (("project", "key", "model"), True, 0)
    assert amp("usage", "--since", "soon").exit_code == 2
