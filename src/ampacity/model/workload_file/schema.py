"""The JSON schema of workload files, for editors: made from the same keys that the files are checked with."""

from __future__ import annotations

from typing import Any

from ampacity.model.workload import WorkloadKind

from .keys import ONLY_FOR, WorkloadKeys


def workload_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of one document of a workload file."""
    schema = WorkloadKeys.model_json_schema()
    schema = _plain(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Ampacity workload",
        **{key: value for key, value in schema.items() if key != "title"},
        "allOf": _by_kind(),
    }


def _plain(schema: Any) -> Any:
    """Without pydantic's titles and the ``null`` that stands for a key that was left out."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    arms = schema.get("anyOf", [])
    kept = [arm for arm in arms if arm != {"type": "null"}]
    found = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    if not isinstance(found.get("title"), dict):
        found.pop("title", None)
    if len(kept) == 1 and len(kept) < len(arms):
        found |= kept[0]
    elif kept:
        found["anyOf"] = kept
    if "patternProperties" in found:
        found["additionalProperties"] = False
    return {key: _plain(value) for key, value in found.items()}


def _by_kind() -> list[dict[str, Any]]:
    """What each kind needs, and the keys that are another kind's."""
    rules: list[dict[str, Any]] = []
    for kind in (WorkloadKind.TRAIN, WorkloadKind.SERVICE):
        theirs = {"properties": {"type": {"const": str(kind)}}, "required": ["type"]}
        refused = {key: False for key, only in ONLY_FOR.items() if only is kind}
        rules.append({"if": theirs, "else": {"properties": refused}})
    service = {"properties": {"type": {"const": "service"}}, "required": ["type"]}
    one_of = {"anyOf": [{"required": ["run"]}, {"required": ["model"]}], "dependentRequired": {"engine": ["model"]}}
    rules.append({"if": service, "then": one_of, "else": {"required": ["run"]}})
    return rules
