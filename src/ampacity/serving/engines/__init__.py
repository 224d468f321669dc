"""Inference engines by name: how each serves a model's folder. A new one is a module and a line here."""

from __future__ import annotations

from difflib import get_close_matches

from ampacity.model.errors import InvalidSpec, Where

from .base import Engine
from .transformers import TransformersEngine

ENGINES: dict[str, Engine] = {"transformers": TransformersEngine()}


def engine_named(name: str) -> Engine:
    """Raises ``InvalidSpec`` with the near names."""
    if name in ENGINES:
        return ENGINES[name]
    near = get_close_matches(name, ENGINES, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Known engines: {', '.join(ENGINES)}."
    raise InvalidSpec(f"there is no engine {name!r}.", where=Where(key="engine"), hint=hint)
