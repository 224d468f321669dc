"""The API's description (OpenAPI 3.1), made of the table of endpoints and the types that read and write the wire.

Source of the words: https://spec.openapis.org/oas/v3.1.1.html. A stream is described by the schema of its lines under
``x-line``: the specification has no word for newline-delimited JSON before 3.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ampacity import __version__
from ampacity.model.errors import AmpacityError, error_types

from .bodies import Nothing, RawBytes
from .endpoint import Endpoint
from .frames import UPGRADE, Kind
from .wire import (
    API_PREFIX,
    FILE_MODE_HEADER,
    FILE_SIZE_HEADER,
    FILE_VERSION_HEADER,
    KEY_HEADER,
    NDJSON,
    OCTETS,
    REPLAYED_HEADER,
    VERSION_HEADER,
    ErrorAnswer,
    StreamLine,
)

_REF = "#/components/schemas/{name}"
_WRITES = ("POST", "DELETE")
"""What may carry a key; a PUT may be repeated without one."""

_BODIES = ("POST", "PUT", "PATCH")


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The description of these endpoints, as plain values."""
    types = [each.answer for each in endpoints] + [each.body for each in endpoints if each.method in _BODIES]
    queries = [each.query for each in endpoints]
    found, components = msgspec.json.schema_components([*types, *queries, ErrorAnswer], ref_template=_REF)
    answers = dict(zip(map(repr, types), found, strict=False))
    query_names = {each.__name__ for each in queries} - {each.__name__ for each in types}
    schemas = {name: schema for name, schema in components.items() if name not in query_names}
    paths: dict[str, dict[str, Any]] = {}
    for each in endpoints:
        query = components.get(each.query.__name__, {})
        path = API_PREFIX + each.path.replace(":path", "")
        paths.setdefault(path, {})[each.method.lower()] = _operation(each, answers, query)
    return {
        "openapi": "3.1.1",
        "info": {"title": "Ampacity", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/", "description": "The control plane that was asked."}],
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "schemas": _clean(schemas),
            "responses": {"Error": _error_response()},
            "headers": {"Version": {"description": "The server's release.", "schema": {"type": "string"}}},
            "parameters": {"IdempotencyKey": _key_parameter()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Over TCP. The Unix socket needs none."}
            },
        },
    }


def _operation(endpoint: Endpoint, schemas: dict[str, Any], query: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "tags": [endpoint.path.split("/")[1]],
        "parameters": [*_path_parameters(endpoint.path), *_query_parameters(query)],
        "responses": {
            str(endpoint.status): _success(endpoint, schemas[repr(endpoint.answer)]),
            "default": {"$ref": "#/components/responses/Error"},
        },
        "x-action": str(endpoint.action),
    }
    if endpoint.method in _WRITES:
        found["parameters"].append({"$ref": "#/components/parameters/IdempotencyKey"})
    if endpoint.method in _BODIES:
        found["requestBody"] = {
            "required": endpoint.body is not Nothing,
            "content": _body_content(endpoint, schemas),
        }
    return found


def _body_content(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    if endpoint.body is RawBytes:
        return {OCTETS: {"schema": {}}}
    return {"application/json": {"schema": schemas[repr(endpoint.body)]}}


def _success(endpoint: Endpoint, schema: dict[str, Any]) -> dict[str, Any]:
    headers: dict[str, Any] = {VERSION_HEADER: {"$ref": "#/components/headers/Version"}}
    if endpoint.upgrade is not None:
        return {"description": _FRAMES, "headers": headers, "x-exit": schema}
    if endpoint.content is not None:
        for name in (FILE_SIZE_HEADER, FILE_VERSION_HEADER, FILE_MODE_HEADER):
            headers[name] = {"schema": {"type": "string"}}
        return {"description": endpoint.summary, "headers": headers, "content": {OCTETS: {"schema": {}}}}
    if endpoint.stream is not None:
        lines = {"type": "string", "description": _LINES, "x-line": schema}
        return {"description": "A stream of lines.", "headers": headers, "content": {NDJSON: {"schema": lines}}}
    if endpoint.method in _WRITES:
        said = {"description": "`true` on an answer that was given before.", "schema": {"const": "true"}}
        headers[REPLAYED_HEADER] = said
    return {"description": endpoint.summary, "headers": headers, "content": {"application/json": {"schema": schema}}}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in re.findall(r"{(\w+)", path)
    ]


def _query_parameters(query: dict[str, Any]) -> list[dict[str, Any]]:
    """Lists are separated by commas; what is left out takes its default."""
    found = []
    for name, schema in query.get("properties", {}).items():
        parameter = {
            "name": name,
            "in": "query",
            "required": name in query.get("required", []),
            "schema": _clean(_not_null(schema)),
        }
        if schema.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        found.append(parameter)
    return found


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query has no word for null: a parameter is left out."""
    arms = [arm for arm in schema.get("anyOf", []) if arm != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    if rest.get("default", 0) is None:
        del rest["default"]
    return {**rest, **arms[0]} if len(arms) == 1 else schema


def _key_parameter() -> dict[str, Any]:
    return {
        "name": KEY_HEADER,
        "in": "header",
        "required": False,
        "description": "Asked again with the same key and body within a day, it is answered as the first time and done "
        "once. With another body it is refused (`key_reused`).",
        "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
    }


def _error_response() -> dict[str, Any]:
    tree = sorted(error_types().items())
    codes = {code: kind.status for code, kind in tree if kind.__module__ == AmpacityError.__module__}
    return {
        "description": "It was refused, or went wrong. `code` is stable; the usual status of each is under `x-codes`.",
        "headers": {VERSION_HEADER: {"$ref": "#/components/headers/Version"}},
        "content": {"application/json": {"schema": {"$ref": _REF.format(name=ErrorAnswer.__name__)}}},
        "x-codes": codes,
    }


def _clean(schema: Any) -> Any:
    """Without the titles that only repeat a name; plain lists for tuples, so that it is the same after the wire."""
    if isinstance(schema, dict):
        return {key: _clean(value) for key, value in schema.items() if key != "title" or not isinstance(value, str)}
    return [_clean(each) for each in schema] if isinstance(schema, Iterable) and not isinstance(schema, str) else schema


_ABOUT = (
    "HTTP/1.1 and JSON, over the control plane's Unix socket (the same user or root) and over loopback TCP with a "
    f"bearer token. Unknown keys and parameters are refused. Every response names the release in `{VERSION_HEADER}`."
)
_FRAMES = (
    f"Asked for with `Connection: Upgrade` and `Upgrade: {UPGRADE}`; frames follow in both directions: one byte for "
    f"the kind ({', '.join(f'{kind.value} {kind.name.lower()}' for kind in Kind)}), four for the length, big-endian, "
    "then the content. The client begins with `start`; an empty `stdin` is its end; `resize` and `exit` are JSON."
)
_LINES = (
    f"Newline-delimited JSON; each line is a {StreamLine.__name__}, an object with one key. `cursor` seals the lines "
    "before it, `end` or `error` is the last line, and an empty line is a heartbeat."
)
