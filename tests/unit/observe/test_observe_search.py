"""Searching lines: text, regular expressions in a process of their own, and the lines around what is found."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampacity.cli.search import highlighter, read_since
from ampacity.model.errors import InvalidSpec
from ampacity.observe.search import Context, RegexMatcher, TextMatcher, open_matcher

LINES = ["loss 1.5", "Loss NaN", "", "step 10 (of 20)", "straße", "läuft"]


def found(pattern: str, **how: bool) -> list[str]:
    matcher = open_matcher(pattern, **how)
    try:
        return [line for line, matched in zip(LINES, matcher.matches(LINES), strict=True) if matched]
    finally:
        matcher.close()


def test_text_and_regular_expressions() -> None:
    assert found("loss") == ["loss 1.5"]
    assert found("loss", ignore_case=True) == ["loss 1.5", "Loss NaN"]
    assert found(r"loss \d", ignore_case=True) == ["loss 1.5"]
    assert found("^$") == [""]
    assert found("(of 20)", fixed=True) == ["step 10 (of 20)"]
    assert found("STRASSE", fixed=True, ignore_case=True) == ["straße"]
    assert found("l.uft$") == ["läuft"]


def test_plain_text_needs_no_process() -> None:
    assert isinstance(open_matcher("CUDA error: 700"), TextMatcher)
    assert isinstance(open_matcher("error.*700"), RegexMatcher)


@pytest.mark.parametrize("pattern", ["", "two\nlines", "x" * 1001, "(open", "*"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidSpec) as refusal:
        open_matcher(pattern)
    assert refusal.value.where.key == "pattern"


def test_a_pattern_that_takes_for_ever_is_ended() -> None:
    matcher = RegexMatcher("(a+)+$", ignore_case=False, limit_s=0.5)
    began = time.monotonic()
    with pytest.raises(InvalidSpec, match="takes too long"):
        matcher.matches(["a" * 40 + "b"])
    assert time.monotonic() - began < 30
    assert matcher.matches(["aaa"]) == [True]  # a new process does the next page
    matcher.close()


def test_many_pages_and_large_ones_go_through_one_process() -> None:
    matcher = RegexMatcher("9$", ignore_case=False)
    lines = [f"{number} {'x' * 100} {number}" for number in range(20_000)]
    try:
        for _ in range(2):
            assert sum(matcher.matches(lines)) == 2000
    finally:
        matcher.close()


@given(
    matched=st.lists(st.booleans(), max_size=40),
    around=st.integers(min_value=0, max_value=4),
    cut=st.integers(min_value=0, max_value=40),
)
def test_context_is_what_lies_around_each_match_however_pages_are_cut(
    matched: list[bool], around: int, cut: int
) -> None:
    lines = list(range(len(matched)))
    context: Context[int] = Context(around)
    hits = [*context.feed(lines[:cut], matched[:cut]), *context.feed(lines[cut:], matched[cut:])]
    expected = [place for place in lines if any(matched[max(0, place - around) : place + around + 1])]
    assert [hit.line for hit in hits] == expected
    assert all(hit.matched == matched[hit.line] for hit in hits)
    for one, other in itertools.pairwise(hits):
        assert (other.group != one.group) == (other.line != one.line + 1)


def test_since_when() -> None:
    assert read_since("10m", now=1000.0) == 400.0
    assert read_since("1970-01-01T00:01:00+00:00", now=0.0) == 60.0
    with pytest.raises(InvalidSpec, match="neither"):
        read_since("yesterday", now=0.0)


def test_what_matches_is_coloured() -> None:
    assert highlighter("a.c", False, True)("xABCx") == "x\x1b[31m\x1b[1mABC\x1b[0mx"
    assert highlighter("a.c", True, False)("xabcx") == "xabcx"
    assert highlighter("(", False, False)("(") == "("
