"""The part of JSON schema (draft 2020-12) that the API's description uses, for holding answers against it."""

from __future__ import annotations

import re
from typing import Any

_ABOUT = {"title", "description", "default", "x-line", "contentEncoding", "discriminator"}
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def mistakes(value: object, schema: Any, root: Any, path: str = "$") -> list[str]:
    """Where the value is not what the schema says. A word that is not implemented here is a mistake too."""
    return [wrong for word in schema for wrong in _of_word(value, word, schema, root, path)]


def _of_word(value: object, word: str, schema: Any, root: Any, path: str) -> list[str]:
    said = schema[word]
    match word:
        case "$ref":
            return mistakes(value, resolve(said, root), root, path)
        case "anyOf":
            right = any(not mistakes(value, arm, root, path) for arm in said)
        case "type":
            right = _is_a(value, said)
        case "enum":
            right = value in said
        case "const":
            right = value == said
        case "properties" | "required" | "additionalProperties":
            return _of_object(value, word, schema, root, path) if isinstance(value, dict) else []
        case "items" | "prefixItems" | "minItems" | "maxItems":
            return _of_list(value, word, schema, root, path) if isinstance(value, list) else []
        case "minimum" | "maximum" | "minLength" | "maxLength" | "pattern":
            right = _within(value, word, said)
        case _:
            right = word in _ABOUT
    return [] if right else [f"{path} breaks {word} {said!r}: {value!r}"]


def resolve(ref: str, root: Any) -> Any:
    """What a reference within the document points at. Raises ``KeyError``."""
    assert ref.startswith("#/"), ref
    for part in ref[2:].split("/"):
        root = root[part]
    return root


def _is_a(value: object, said: str | list[str]) -> bool:
    if isinstance(value, bool):
        return "boolean" in ([said] if isinstance(said, str) else said)
    return any(isinstance(value, _TYPES[name]) for name in ([said] if isinstance(said, str) else said))


def _of_object(value: dict[str, Any], word: str, schema: Any, root: Any, path: str) -> list[str]:
    properties = schema.get("properties", {})
    if word == "required":
        return [f"{path}.{key} is missing" for key in schema["required"] if key not in value]
    if word == "properties":
        return [
            wrong
            for key, item in value.items()
            if key in properties
            for wrong in mistakes(item, properties[key], root, f"{path}.{key}")
        ]
    extra = {key: item for key, item in value.items() if key not in properties}
    rule = schema["additionalProperties"]
    if rule is False:
        return [f"{path}.{key} is not foreseen" for key in extra]
    return [
        wrong
        for key, item in extra.items()
        if rule is not True
        for wrong in mistakes(item, rule, root, f"{path}.{key}")
    ]


def _of_list(value: list[Any], word: str, schema: Any, root: Any, path: str) -> list[str]:
    said, first = schema[word], schema.get("prefixItems", [])
    match word:
        case "minItems" | "maxItems":
            right = len(value) >= said if word == "minItems" else len(value) <= said
            return [] if right else [f"{path} breaks {word} {said}"]
        case "prefixItems":
            pairs = enumerate(zip(value, said, strict=False))
            return [wrong for at, (item, rule) in pairs for wrong in mistakes(item, rule, root, f"{path}[{at}]")]
        case _:
            rest = value[len(first) :]
            if isinstance(said, bool):
                return [f"{path} is too long"] if rest and not said else []
            return [wrong for at, item in enumerate(rest) for wrong in mistakes(item, said, root, f"{path}[{at}]")]


def _within(value: object, word: str, said: Any) -> bool:
    if isinstance(value, str):
        match word:
            case "pattern":
                return re.search(said, value) is not None
            case "minLength":
                return len(value) >= said
            case "maxLength":
                return len(value) <= said
    if isinstance(value, int | float) and not isinstance(value, bool):
        return bool(value >= said if word == "minimum" else value <= said if word == "maximum" else True)
    return True
