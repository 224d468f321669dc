"""Workload files: the border where YAML, or plain values, become specs.

``parse_workload(text, file=…, directory=…)`` reads a file, ``spec_from_plain(mapping)`` checks what a program made, and
``checked_spec(spec)`` holds a spec that a client sent to the same rules. ``workload_schema()`` tells editors the keys.
"""

from .parse import parse_workload, spec_from_plain
from .plain import checked_spec, plain_from_spec
from .schema import workload_schema

__all__ = ["checked_spec", "parse_workload", "plain_from_spec", "spec_from_plain", "workload_schema"]
