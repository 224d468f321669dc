"""The order within a queue: one small policy a name."""
