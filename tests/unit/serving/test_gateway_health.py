"""What is thought of an engine, and how slowly one that was away returns."""

from __future__ import annotations

from ampacity.serving.gateway.health import ERRORS_TO_GO, FIRST_OUT_S, MISSES_TO_GO, Health


def test_one_that_answers_no_probes_is_out_and_one_that_refuses_at_once() -> None:
    health = Health()
    for _ in range(MISSES_TO_GO - 1):
        health.probed(False, 1.0)
    assert health.share(1.0) == 1.0
    health.probed(False, 1.0)
    assert (health.silent, health.share(1.0)) == (True, 0.0)
    health = Health()
    health.probed(False, 1.0, refused=True)
    assert health.share(1.0) == 0.0


def test_it_returns_slowly() -> None:
    health = Health()
    health.probed(False, 1.0, refused=True)
    health.probed(True, 100.0)
    shares = [health.share(100.0 + after) for after in (0, 3, 6, 9, 10, 11)]
    assert shares == [0.1, 0.25, 0.5, 0.5, 1.0, 1.0]


def test_errors_in_a_row_put_it_out_longer_each_time() -> None:
    health = Health()
    now = 0.0
    for times in range(3):
        for _ in range(ERRORS_TO_GO - 1):
            health.answered(500, now)
        assert health.share(now) > 0.0
        health.answered(500, now)
        out_s = FIRST_OUT_S * 2.0**times
        assert health.share(now + out_s - 0.1) == 0.0
        now += out_s
        assert health.share(now) == 0.1
    assert health.share(now + 10.0) == 1.0
    for _ in range(ERRORS_TO_GO):
        health.answered(503, now + 20.0)
    assert health.share(now + 20.0 + FIRST_OUT_S) > 0.0


def test_errors_among_answers_and_those_that_clients_made_do_not_count() -> None:
    health = Health()
    for status in (500, 500, 500, 500, 200, 500, 500, 500, 500, 404, 500):
        health.answered(status, 1.0)
    assert health.share(1.0) == 1.0
