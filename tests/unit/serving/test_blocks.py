"""Blocks of a prompt's text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ampacity.serving.routing.blocks import BLOCK_BYTES, MOST_BLOCKS, blocks_of


@given(same=st.integers(0, 4000), one=st.binary(max_size=3000), other=st.binary(max_size=3000))
def test_equal_beginnings_have_equal_blocks_and_no_further_ones(same: int, one: bytes, other: bytes) -> None:
    start = bytes(number % 251 for number in range(same))
    first, second = blocks_of(start + one), blocks_of(memoryview(start + other))
    for number in range(max(len(first), len(second))):
        end = (number + 1) * BLOCK_BYTES
        assert (first[number : number + 1] == second[number : number + 1]) == (
            (start + one)[:end] == (start + other)[:end]
        )


def test_what_is_shorter_than_a_block_has_none_and_no_prompt_has_more_than_the_most() -> None:
    assert blocks_of(b"x" * (BLOCK_BYTES - 1)) == []
    assert len(blocks_of(b"x" * (BLOCK_BYTES * MOST_BLOCKS + 5 * BLOCK_BYTES))) == MOST_BLOCKS
