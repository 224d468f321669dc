"""The words that an engine says to a question."""

from __future__ import annotations

import hashlib


def word(question: str, number: int) -> str:
    """The ``number``-th: a function of both and of nothing else."""
    return hashlib.blake2b(f"{question} {number}".encode(), digest_size=4).hexdigest() + " "
