"""Whose trace a request belongs to, and whether it is recorded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampacity.serving.gateway.sampling import Parent, Sampler, parent_of, sampler_of, traceparent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@given(st.integers(1, (1 << 128) - 1), st.integers(1, (1 << 64) - 1))
def test_what_is_passed_on_can_be_read(trace: int, span: int) -> None:
    assert parent_of(traceparent(trace, span)) == Parent(trace_id=trace, span_id=span, sampled=True)


@given(st.binary(max_size=80))
def test_whatever_comes_is_read_or_refused(header: bytes) -> None:
    found = parent_of(header)
    assert found is None or (found.trace_id > 0 and found.span_id > 0)


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01-more",
    ],
)
def test_what_the_standard_forbids_is_no_parent(header: str) -> None:
    assert parent_of(header.encode()) is None


def test_a_later_version_may_say_more() -> None:
    found = parent_of(f"01-{TRACE}-{SPAN}-03-more".encode())
    assert found == Parent(trace_id=int(TRACE, 16), span_id=int(SPAN, 16), sampled=True)


@pytest.mark.parametrize(
    ("environ", "sampler"),
    [
        ({}, Sampler()),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, Sampler(by_parent=False, ratio=0.0)),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, Sampler(ratio=0.0)),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
            Sampler(by_parent=False, ratio=0.25),
        ),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "nine"}, Sampler()),
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, Sampler()),
    ],
)
def test_the_standard_variables_choose_the_sampler(environ: dict[str, str], sampler: Sampler) -> None:
    assert sampler_of(environ) == sampler


def test_callers_decide_where_they_are_heeded_and_a_ratio_where_not() -> None:
    low, high = 1, (1 << 64) - 1
    heeding, deaf = Sampler(ratio=0.5), Sampler(by_parent=False, ratio=0.5)
    unsampled = Parent(trace_id=low, span_id=1, sampled=False)
    assert [heeding.takes(low, None), heeding.takes(high, None), heeding.takes(low, unsampled)] == [True, False, False]
    assert deaf.takes(low, unsampled)
    assert not Sampler(ratio=0.0).takes(low, None)
    assert Sampler().takes(high, None)
