"""Metrics as text: what is written is what Prometheus's own parsers read."""

from __future__ import annotations

import math

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from ampacity.observe.exposition import Family, Histogram, Kind, exposition
from ampacity.observe.families import MOST_MEMBERS, measured_families
from ampacity.observe.measured import Measurements, Series

ODD = 'a "quoted" \\ back\nline'


def families() -> list[Family]:
    gauge = Family("ampacity_things", Kind.GAUGE, 'Things, "in" all\nlines.')
    gauge.add(1.5, {"node": ODD, "empty": ""})
    gauge.add(math.nan, {"node": "unknown"})
    gauge.add(None, {"node": "none"})
    counter = Family("ampacity_work_seconds", Kind.COUNTER, "Work.")
    counter.add(2**60, {})
    bare = Family("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", Kind.COUNTER, "Energy.", bare=True)
    bare.add(7, {"gpu": "0"})
    steps = Family("ampacity_step_seconds", Kind.HISTOGRAM, "Steps.")
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 3.0):
        histogram.observe(value)
    histogram.add_to(steps, {})
    return [gauge, counter, bare, steps, Family("ampacity_nothing", Kind.GAUGE, "No sample.")]


@pytest.mark.parametrize("openmetrics", [False, True], ids=["text", "openmetrics"])
def test_the_parsers_read_it(openmetrics: bool) -> None:
    text = exposition(families(), openmetrics=openmetrics).decode()
    found = {family.name: family for family in (parse_openmetrics if openmetrics else parse_text)(text)}
    assert [(sample.labels, sample.value) for sample in found["ampacity_things"].samples] == [({"node": ODD}, 1.5)]
    assert found["ampacity_things"].type == "gauge"
    (work,) = found["ampacity_work_seconds"].samples
    assert (work.name, work.value) == ("ampacity_work_seconds_total", float(2**60))
    assert 'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0"} 7' in text.splitlines()
    assert found["DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"].type == ("unknown" if openmetrics else "counter")
    steps = {(each.name, each.labels.get("le")): each.value for each in found["ampacity_step_seconds"].samples}
    assert steps[("ampacity_step_seconds_bucket", "0.1")] == 2
    assert steps[("ampacity_step_seconds_bucket", "1.0")] == 3
    assert steps[("ampacity_step_seconds_bucket", "+Inf")] == steps[("ampacity_step_seconds_count", None)] == 4
    assert steps[("ampacity_step_seconds_sum", None)] == pytest.approx(3.65)
    assert "ampacity_nothing" not in found
    assert text.endswith("# EOF\n") is openmetrics


def test_devices_are_told_in_dcgms_names_and_units() -> None:
    values = {"utilisation_percent": 87.0, "memory_used_bytes": float(3 << 30), "energy_j": 12.5, "xid": 79.0}
    device = Series(labels={"gpu": "0", "node": "n1", "workload": "w"}, at=1.0, values=values)
    text = exposition(measured_families(Measurements(at=1.0, devices=(device,))), openmetrics=False).decode()
    for line in (
        'DCGM_FI_DEV_GPU_UTIL{gpu="0",node="n1",workload="w"} 87',
        'DCGM_FI_DEV_FB_USED{gpu="0",node="n1",workload="w"} 3072',
        'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0",node="n1",workload="w"} 12500',
        'DCGM_FI_DEV_XID_ERRORS{gpu="0",node="n1",workload="w"} 79',
    ):
        assert line in text.splitlines()
    assert "DCGM_FI_DEV_GPU_TEMP" not in text  # what is not known is not told


def test_a_crowd_of_members_is_cut_off_and_counted() -> None:
    crowd = tuple(
        Series(labels={"attempt": str(number)}, at=1.0, values={"processes": 1.0}) for number in range(MOST_MEMBERS + 5)
    )
    text = exposition(measured_families(Measurements(at=1.0, members=crowd)), openmetrics=True).decode()
    assert text.count("ampacity_attempt_processes{") == MOST_MEMBERS
    assert 'ampacity_series_dropped{of="members"} 5' in text
