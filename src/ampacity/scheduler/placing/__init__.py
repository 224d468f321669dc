"""Placement policies: which of the nodes that fit, and which devices there."""
