"""Quantities: what is read, and what a mistake says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ampacity.model.errors import InvalidSpec
from ampacity.model.quantities import (
    about_bytes,
    parse_accelerators,
    parse_bytes,
    parse_count_range,
    parse_cpus,
    parse_duration,
    parse_memory,
    print_accelerators,
    print_bytes,
    print_duration,
)
from ampacity.model.resources import AcceleratorRequest, Range


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("H100", AcceleratorRequest(kind="H100", count=Range.exactly(1))),
        ("H100:8", AcceleratorRequest(kind="H100", count=Range.exactly(8))),
        ("H100:8+", AcceleratorRequest(kind="H100", count=Range.at_least(8))),
        ("H100:2..4", AcceleratorRequest(kind="H100", count=Range(minimum=2, maximum=4))),
        ("H100:0.5", AcceleratorRequest(kind="H100", count=Range.exactly(1), milli=500)),
        ("H100:1.0", AcceleratorRequest(kind="H100", count=Range.exactly(1))),
        ("8", AcceleratorRequest(kind="*", count=Range.exactly(8))),
        ("0.25", AcceleratorRequest(kind="*", count=Range.exactly(1), milli=250)),
        ("A100:80GB:2", AcceleratorRequest(kind="A100", count=Range.exactly(2), memory_bytes=80 * 10**9)),
        ("24GB", AcceleratorRequest(kind="*", count=Range.exactly(1), memory_bytes=24 * 10**9)),
        ("A100-1g.10gb:7", AcceleratorRequest(kind="A100-1g.10gb", count=Range.exactly(7))),
        ("H100-3g.40gb+me", AcceleratorRequest(kind="H100-3g.40gb+me", count=Range.exactly(1))),
        ("H100-1g.10gb+me:2+", AcceleratorRequest(kind="H100-1g.10gb+me", count=Range.at_least(2))),
        ("RTXPRO6000-1g.24gb+me.all:1", AcceleratorRequest(kind="RTXPRO6000-1g.24gb+me.all", count=Range.exactly(1))),
        (" RTX-4090 : 2 ", AcceleratorRequest(kind="RTX-4090", count=Range.exactly(2))),
    ],
)
def test_accelerators(text: str, expected: AcceleratorRequest) -> None:
    assert parse_accelerators(text) == expected


def test_amounts() -> None:
    assert parse_count_range("2..4") == Range(minimum=2, maximum=4)
    assert parse_cpus("16+") == Range.at_least(16_000)
    assert parse_cpus("0.5") == Range.exactly(500)
    assert parse_memory("128GB+") == Range.at_least(128 * 10**9)
    assert parse_memory("64GiB..128GiB") == Range(minimum=2**36, maximum=2**37)
    assert parse_bytes("512MiB") == 2**29
    assert parse_bytes("1.5 TB") == 15 * 10**11


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30.0),
        ("10m", 600.0),
        ("12h", 43_200.0),
        ("1h30m", 5_400.0),
        ("2d", 172_800.0),
        ("500ms", 0.5),
        ("1.5h", 5400),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("parse", "text", "said"),
    [
        (parse_memory, "128gigs", "'128gigs': unit 'gigs' is not known; did you mean GB?"),
        (parse_memory, "128gb", "did you mean GB?"),
        (parse_memory, "128Gi", "did you mean GiB?"),
        (parse_memory, "128g", "did you mean GB?"),
        (parse_memory, "5zettabytes", "did you mean GB?"),
        (parse_memory, "128", "'128' has no unit. Did you mean 128GB?"),
        (parse_memory, "128GB..64GB", "is an empty range. Did you mean 64GB..128GB?"),
        (parse_memory, "..64GB", "is not a range."),
        (parse_bytes, "lots", "is not a size."),
        (parse_bytes, "0.5B", "is too fine"),
        (parse_bytes, "99999999999PB", "is too large."),
        (parse_bytes, "٣GB", "is not a size."),
        (parse_duration, "10minutes", "unit 'minutes' is not known; did you mean m?"),
        (parse_duration, "10M", "did you mean m?"),
        (parse_duration, "600", "'600' has no unit. Did you mean 600s?"),
        (parse_duration, "30m1h", "Write the larger unit first: 1h30m."),
        (parse_duration, "soon", "is not a duration."),
        (parse_duration, "", "is not a duration."),
        (parse_duration, "0.1ms", "is finer than a millisecond."),
        (parse_duration, "999999999999999999d", "is too long."),
        (parse_cpus, "many", "is not a number of CPUs."),
        (parse_cpus, "0.0001", "is too fine"),
        (parse_cpus, "-1", "is not a number of CPUs."),
        (parse_count_range, "0", "is not a number from 1 on."),
        (parse_count_range, "1.5", "is too fine: not a whole number"),
        (parse_count_range, "4..2", "Did you mean 2..4?"),
        (parse_accelerators, "H100:1.5", "only one accelerator can be shared; 1.5 is more than one."),
        (parse_accelerators, "H100:0.0001", "is too fine"),
        (parse_accelerators, "H100|A100", "names more than one kind"),
        (parse_accelerators, "H100:8:9:10", "does not name accelerators."),
        (parse_accelerators, "", "does not name accelerators."),
        (parse_accelerators, "H100+:2", "does not name accelerators."),
        (parse_accelerators, "H100:eight", "'eight' is not a number. Write 8, 8+ or 2..4."),
        (parse_accelerators, "H100:0", "is not a number from 1 on."),
    ],
)
def test_mistakes_say_what_to_write(parse: Callable[[str], object], text: str, said: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse(text)
    assert said in str(caught.value)
    assert caught.value.hint
    assert str(caught.value.where) == ""


def test_printed_in_the_largest_unit_that_is_exact() -> None:
    assert print_bytes(128 * 10**9) == "128GB"
    assert print_bytes(2**29) == "512MiB"
    assert print_bytes(1001) == "1001B"
    assert print_bytes(0) == "0B"
    assert about_bytes(274_877_906_944) == "274.9GB"
    assert about_bytes(2 * 10**9) == "2GB"
    assert print_duration(5400.0) == "1h30m"
    assert print_duration(0.5) == "500ms"
    assert print_duration(0.0) == "0s"
    assert print_accelerators(AcceleratorRequest(kind="H100", count=Range.exactly(1), milli=500)) == "H100:0.5"
