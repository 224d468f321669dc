from __future__ import annotations

import pytest

from ampacity.scheduler.placing.throughput import PEAK_TFLOPS, Rate, Source, rates, speeds


def test_measured_counts_more_than_given_and_both_more_than_an_estimate() -> None:
    found = rates(["H100", "A100", "T4"], given={"H100": 10, "A100": 4}, measured={"A100": 5})
    assert found["A100"] == Rate(steps_per_s=5, source=Source.MEASURED)
    assert found["H100"] == Rate(steps_per_s=10, source=Source.GIVEN)
    assert found["T4"].source is Source.ESTIMATED


def test_estimates_by_what_other_jobs_were_measured_at() -> None:
    others = [{"H100": 8.0, "A100": 4.0}, {"H100": 90.0, "A100": 10.0}, {"H100": 7.0}, {"A100": 0.0, "H100": 1.0}]
    found = rates(["A100"], given={}, measured={"H100": 6.0}, others=others)
    assert found["A100"].steps_per_s == pytest.approx(6 / (2 * 9) ** 0.5)


def test_estimates_by_the_peaks_where_nothing_was_measured_from_the_nearest_kind() -> None:
    found = rates(["A10"], given={"B200": 100.0, "L4": 1.0}, measured={})
    assert found["A10"].steps_per_s == pytest.approx(PEAK_TFLOPS["A10"] / PEAK_TFLOPS["L4"])


def test_says_nothing_of_kinds_that_nothing_is_known_of() -> None:
    assert rates(["TPU", "H100"], given={}, measured={}) == {}
    found = rates(["TPU", "H100"], given={"H100": 3.0}, measured={})
    assert list(found) == ["H100"]
    assert speeds(found, ["TPU", "H100"]) == (1.0, 1.0)


def test_speeds_are_over_the_best() -> None:
    found = rates(["H100", "A100"], given={"H100": 10.0, "A100": 4.0}, measured={})
    assert speeds(found, ["A100", "H100"]) == (0.4, 1.0)
    assert speeds({}, ["A100"]) == ()
