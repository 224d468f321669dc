"""Places that are taken from what runs: who may take whose, whose are the cheapest, and what becomes of both."""
