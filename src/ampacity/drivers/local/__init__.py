"""The driver for this machine: a supervisor per member, and files that outlive everybody."""
