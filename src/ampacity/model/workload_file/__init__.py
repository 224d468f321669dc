"""Workload files: the border where YAML, or plain values, become specs.

``parse_workload(text, file=…, directory=…)`` reads a file, ``spec_from_plain(mapping)`` checks what a program made, and
``workload_schema()`` tells editors about the keys.
"""

from .parse import parse_workload, spec_from_plain
from .schema import workload_schema

__all__ = ["parse_workload", "spec_from_plain", "workload_schema"]
