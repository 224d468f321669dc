"""A prompt's text as blocks: hashes of its beginnings, so that equal beginnings are seen without a tokenizer."""

from __future__ import annotations

from xxhash import xxh3_64_intdigest

BLOCK_BYTES = 1024
TOKEN_BYTES = 4
"""English text has about four bytes a token; what an engine really counted corrects nothing here, only proportions."""

BLOCK_TOKENS = BLOCK_BYTES // TOKEN_BYTES
MOST_BLOCKS = 1024
"""Beyond a million bytes all prompts are equal."""


def blocks_of(text: bytes | memoryview) -> list[int]:
    """The i-th stands for the text up to and with its i-th block: the block's xxh3, seeded with the one before. What is
    left behind the last whole block has none.

    ``text`` is the prompt as it came, such as the ``messages`` of a chat: the next turn of a conversation begins with
    all of this one but its closing bracket.
    """
    whole = min(len(text) // BLOCK_BYTES, MOST_BLOCKS)
    found: list[int] = []
    so_far = 0
    for start in range(0, whole * BLOCK_BYTES, BLOCK_BYTES):
        so_far = xxh3_64_intdigest(text[start : start + BLOCK_BYTES], so_far)
        found.append(so_far)
    return found


def session_of(name: bytes) -> int:
    """A session's number by its name; 0 = it has none."""
    return xxh3_64_intdigest(name) if name else 0
