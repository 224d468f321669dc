"""Quantities: printing and reading again gives the same; any text gives a value or an ``InvalidSpec``."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampacity.model.errors import InvalidSpec
from ampacity.model.quantities import (
    LARGEST,
    parse_accelerators,
    parse_bytes,
    parse_count_range,
    parse_cpus,
    parse_duration,
    parse_memory,
    print_accelerators,
    print_bytes,
    print_cpu_range,
    print_duration,
    print_memory_range,
)
from ampacity.model.resources import AcceleratorRequest, Range


def ranges(minimum: int, maximum: int) -> st.SearchStrategy[Range]:
    number = st.integers(minimum, maximum)
    return st.one_of(
        number.map(Range.exactly),
        number.map(Range.at_least),
        st.tuples(number, number).map(lambda pair: Range(minimum=min(pair), maximum=max(pair))),
    )


sizes = st.one_of(st.integers(0, LARGEST), st.builds(lambda n, p: n * 2**p, st.integers(0, 999), st.integers(0, 40)))
memories = st.one_of(st.none(), st.integers(1, 10**12))
kinds = st.sampled_from(["*", "H100", "RTX-4090", "MI300X", "h"])
accelerators = st.one_of(
    st.builds(AcceleratorRequest, kind=kinds, count=ranges(1, 999), memory_bytes=memories),
    st.builds(
        AcceleratorRequest,
        kind=kinds,
        count=st.just(Range.exactly(1)),
        milli=st.integers(1, 999),
        memory_bytes=memories,
    ),
)


@given(sizes)
def test_bytes(size_bytes: int) -> None:
    assert parse_bytes(print_bytes(size_bytes)) == size_bytes


@given(ranges(0, 10**9))
def test_cpus(cpus: Range) -> None:
    assert parse_cpus(print_cpu_range(cpus)) == cpus


@given(ranges(0, LARGEST))
def test_memory(memory: Range) -> None:
    assert parse_memory(print_memory_range(memory)) == memory


@given(ranges(1, 10**6))
def test_counts(count: Range) -> None:
    assert parse_count_range(str(count)) == count


@given(st.integers(0, 10**12))
def test_durations(milliseconds: int) -> None:
    assert parse_duration(print_duration(milliseconds / 1000)) == milliseconds / 1000


@given(accelerators)
def test_accelerators(wanted: AcceleratorRequest) -> None:
    assert parse_accelerators(print_accelerators(wanted)) == wanted


near_misses = st.text(alphabet="0123456789.+:|, -GMKTBibsmhdH٣", max_size=12)


@pytest.mark.parametrize(
    "parse", [parse_accelerators, parse_bytes, parse_count_range, parse_cpus, parse_duration, parse_memory]
)
@given(text=st.one_of(st.text(max_size=20), near_misses))
def test_any_text_is_a_value_or_invalid(parse: Callable[[str], object], text: str) -> None:
    with suppress(InvalidSpec):
        parse(text)
