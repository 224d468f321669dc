"""Prints the schema for editors: ``python -m ampacity.model.workload_file > docs/workload.schema.json``."""

import json

from .schema import workload_schema

print(json.dumps(workload_schema(), indent=2))
