"""Backfill: places held for those at the head, so that who is let past them does not delay them."""
