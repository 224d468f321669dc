"""The scheduler: state and a time in, a plan out. Pure: no clock, no I/O, no randomness.

The door is three names: ``build(rows)`` makes a :class:`State`, ``state.apply(event)`` keeps it current, and
``plan(state, now)`` decides. ``could_ever_fit(spec, nodes)`` refuses at submission what no node could hold.
"""

from .impossible import Refusal, could_ever_fit
from .plan import plan
from .state import State, build

__all__ = ["Refusal", "State", "build", "could_ever_fit", "plan"]
