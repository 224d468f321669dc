"""The scheduler: state and a time in, a plan out. Pure: no clock, no I/O, no randomness.

The door is three names: ``build(rows)`` makes a :class:`State`, ``state.apply(event)`` keeps it current, and
``plan(state, now)`` decides.
"""
