"""The part of JSON schema (draft 2020-12) that the schema of workload files uses, for holding it against the parser."""

from __future__ import annotations

import re
from typing import Any

_KNOWN = {
    *("$schema", "$defs", "$ref", "title", "description", "type", "properties", "patternProperties", "required"),
    *("additionalProperties", "items", "enum", "const", "pattern", "minimum", "maximum", "anyOf", "allOf", "not"),
    *("if", "then", "else", "dependentRequired"),
}
_TYPES: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
}


def valid(value: object, schema: Any, root: Any = None) -> bool:
    """Whether the value is valid. A word that is not implemented here fails the test."""
    root = schema if root is None else root
    if isinstance(schema, bool):
        return schema
    unknown = set(schema) - _KNOWN
    assert not unknown, f"this check does not know {unknown}"
    return all(
        [
            "$ref" not in schema or valid(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root),
            _type(value, schema.get("type")),
            "enum" not in schema or value in schema["enum"],
            "const" not in schema or value == schema["const"],
            _text_and_number(value, schema),
            _object(value, schema, root),
            not isinstance(value, list) or all(valid(item, schema.get("items", True), root) for item in value),
            "anyOf" not in schema or any(valid(value, arm, root) for arm in schema["anyOf"]),
            all(valid(value, arm, root) for arm in schema.get("allOf", [])),
            _conditional(value, schema, root),
        ]
    )


def _type(value: object, named: str | list[str] | None) -> bool:
    if named is None:
        return True
    names = [named] if isinstance(named, str) else named
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, _TYPES[name]) for name in names)


def _text_and_number(value: object, schema: Any) -> bool:
    if isinstance(value, str):
        return re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return True


def _object(value: object, schema: Any, root: Any) -> bool:
    if not isinstance(value, dict):
        return True
    if any(key not in value for key in schema.get("required", [])):
        return False
    needed = schema.get("dependentRequired", {})
    if any(other not in value for key in value for other in needed.get(key, [])):
        return False
    return all(valid(item, _rule(key, schema), root) for key, item in value.items())


def _rule(key: str, schema: Any) -> Any:
    if key in schema.get("properties", {}):
        return schema["properties"][key]
    for pattern, rule in schema.get("patternProperties", {}).items():
        if re.search(pattern, key):
            return rule
    return schema.get("additionalProperties", True)


def _conditional(value: object, schema: Any, root: Any) -> bool:
    if "if" not in schema:
        return True
    return valid(value, schema.get("then" if valid(value, schema["if"], root) else "else", True), root)
