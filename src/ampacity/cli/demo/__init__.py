"""``ampacity demo``: the whole platform in a few minutes, with real faults, real measurements and checks."""
