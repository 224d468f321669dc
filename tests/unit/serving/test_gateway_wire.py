"""What workers and the dispatcher say comes whole, however the bytes come."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampacity.serving.gateway.wire import (
    Adopt,
    Again,
    Answered,
    Ask,
    Ended,
    Frames,
    Refuse,
    Sent,
    Withdrawn,
    frame,
    from_dispatcher,
    from_worker,
)

LOTS = [
    [Ask(1, "m", 2.5, 7, [2**64 - 1, 0], 0, "k", None, 9.0, True, False), Again(1, ["a", "b"])],
    [Adopt(5, Ask(5, "m", 2.5, 7, [], 3, "", 9, None, False, True), "e", True)],
    [Answered(3), Ended(4, "complete", None, 1, 2, 0.5), Withdrawn(2**62)],
]


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, 300), max_size=12))
def test_lots_come_whole(cuts: list[int]) -> None:
    data = b"".join(map(frame, LOTS))
    places = sorted({cut % len(data) for cut in cuts} | {0, len(data)})
    frames = Frames()
    found = [lot for a, b in pairwise(places) for lot in frames.feed(data[a:b])]
    assert [from_worker(each) for each in found] == LOTS


def test_the_dispatchers_words_are_told_apart() -> None:
    lot = [Sent(1, "e", 5, ""), Refuse(2, 429, "c", "m", None)]
    assert from_dispatcher(Frames().feed(frame(lot))[0]) == lot


def test_a_length_that_nobody_would_send_is_refused() -> None:
    with pytest.raises(ValueError, match="frame"):
        Frames().feed(b"\xff\xff\xff\xff")
