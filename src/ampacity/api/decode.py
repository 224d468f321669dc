"""From bytes and query strings to the nouns of :mod:`.bodies`, with errors that say where and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, TypeVar, get_origin

import msgspec

from ampacity.model.codec import to_plain
from ampacity.model.errors import BadRequest, InvalidSpec, Where

T = TypeVar("T", bound=msgspec.Struct)

_AT = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<key>.*)`)?$", re.DOTALL)
_BYTE = re.compile(r" \(byte (?P<byte>\d+)\)$")
_UNKNOWN = re.compile(r"^Object contains unknown field `(?P<field>.*)`$")


def read_query(pairs: Iterable[tuple[str, str]], kind: type[T]) -> T:
    """The parameters. A flag may stand without a value; lists are separated by commas or given several times.

    Raises ``InvalidSpec`` for an unknown, doubled or malformed parameter; the key is its name.
    """
    types = _types(kind)
    plain: dict[str, Any] = {}
    for key, value in pairs:
        if key not in types:
            raise _unknown(key, "", types, "parameter")
        if get_origin(types[key]) is tuple:
            plain.setdefault(key, []).extend(part for part in value.split(",") if part)
        elif key in plain:
            raise InvalidSpec("The parameter is given twice.", where=Where(key=key), hint="Give it once.")
        else:
            plain[key] = True if types[key] is bool and not value else value
    return _convert(plain, kind, strict=False)


@lru_cache
def _types(kind: type[msgspec.Struct]) -> Mapping[str, Any]:
    """The types of the parameters by their names."""
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


def read_body(data: bytes, kind: type[T]) -> T:
    """The body; an empty one is ``{}``.

    Raises:
        BadRequest: it is not JSON; says where.
        InvalidSpec: it is JSON, but not what is expected; the key says where.
    """
    try:
        plain = msgspec.json.decode(data or b"{}")
    except msgspec.DecodeError as error:
        raise _not_json(str(error), data) from None
    except (UnicodeDecodeError, RecursionError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else "it is nested too deeply"
        raise BadRequest(f"The body is not JSON: {reason}.", hint="Send one JSON object in UTF-8.") from None
    body = _convert(plain, kind, strict=True)
    _refuse_unknown(plain, to_plain(body), "")
    return body


def _convert(plain: object, kind: type[T], *, strict: bool) -> T:
    try:
        return msgspec.convert(plain, kind, strict=strict)
    except msgspec.ValidationError as error:
        found = _AT.match(str(error))
        assert found is not None, "the pattern matches any text"
        what, key = found["what"], found["key"] or ""
        unknown = _UNKNOWN.match(what)
        if unknown:
            fields = [field.encode_name for field in msgspec.structs.fields(kind)]
            raise _unknown(unknown["field"], key, fields, "key") from None
        raise InvalidSpec(f"{what}.", where=Where(key=key)) from None


def _refuse_unknown(given: object, understood: object, path: str) -> None:
    """Refuse keys that the dataclasses inside a body do not have: msgspec passes over those in silence."""
    if isinstance(given, dict) and isinstance(understood, dict):
        for key, value in given.items():
            if key not in understood:
                raise _unknown(str(key), path, understood, "key")
            _refuse_unknown(value, understood[key], f"{path}.{key}" if path else str(key))
    elif isinstance(given, list) and isinstance(understood, list | tuple):
        for index, (value, twin) in enumerate(zip(given, understood, strict=False)):
            _refuse_unknown(value, twin, f"{path}[{index}]")


def _unknown(name: str, path: str, known: Mapping[str, Any] | list[str], what: str) -> InvalidSpec:
    near = difflib.get_close_matches(name, list(known), n=1)
    if near:
        hint = f"Did you mean {near[0]!r}?"
    elif known:
        hint = f"Known here: {', '.join(known)}."
    else:
        hint = "None is taken here."
    where = Where(key=f"{path}.{name}" if path else name)
    return InvalidSpec(f"There is no such {what}.", where=where, hint=hint)


def _not_json(reason: str, data: bytes) -> BadRequest:
    found = _BYTE.search(reason)
    offset = min(int(found["byte"]), len(data)) if found else len(data)
    before = data[:offset]
    line = before.count(b"\n") + 1
    column = offset - (before.rfind(b"\n") + 1) + 1
    text = _BYTE.sub("", reason).removeprefix("JSON is malformed: ").rstrip(".")
    return BadRequest(
        f"The body is not JSON: {text} (line {line}, column {column}).",
        where=Where(line=line),
        hint="Send one JSON object.",
    )
