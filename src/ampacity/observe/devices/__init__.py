"""Reading accelerators' live values: one reader for each vendor, in a process of its own."""
