"""The API's description: sound by itself, and true: every endpoint, method, body and answer is held against it."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plane_double import PlaneDouble

from ampacity.api.app import create_app
from ampacity.api.authorize import Access
from ampacity.api.edge import PEER
from ampacity.api.openapi import document
from ampacity.api.table import ENDPOINTS
from ampacity.model.errors import error_types
from schema_check import mistakes, resolve

DOCUMENT: dict[str, Any] = json.loads(json.dumps(document(ENDPOINTS)))
METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
OPERATIONS = [(path, method, said) for path, item in DOCUMENT["paths"].items() for method, said in item.items()]
IDS = [said["operationId"] for _, _, said in OPERATIONS]
GOOD: dict[str, dict[str, Any]] = {
    "submit": {"spec": {"name": "x", "kind": "task", "run": "true"}},
    "setDesired": {"wish": "run"},
    "setCondition": {"condition": "ready"},
    "addModel": {"name": "m", "path": "/m"},
    "putSecret": {"value": "dmFsdWU="},
    "applyTopology": {"file": "topology: {fabric: {levels: [leaf], places: {a: {nodes: n0}}}}"},
    "applyRoutes": {"file": "routes: {chat: {to: {a: 9, b: 1}}}"},
    "markNode": {"labels": {"zone": "a"}, "taints": {"repair": ""}},
    "applyQueues": {"file": "queues: {research: {weight: 2}}"},
    "createKey": {"name": "k", "digest": "ab" * 32},
    "limitKey": {"limits": {"concurrency": 4}},
    "setLimits": {"limits": {"budget": {"amount": 5.0, "period": "day"}}, "weight": 2.0},
}
QUERIES = {"searchLogs": {"pattern": "line"}, "readFile": {"path": "f"}, "writeFile": {"path": "g", "size": 2}}
NAMES = {
    "setCondition": "n0",
    "markNode": "n0",
    "getModel": "m",
    "removeModel": "m",
    "putSecret": "S",
    "removeSecret": "S",
    "limitKey": "K",
    "revokeKey": "K",
}


def walk(node: Any) -> Any:
    if isinstance(node, dict):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from walk(inner)


def test_the_document_is_sound() -> None:
    """As the specification asks: https://spec.openapis.org/oas/v3.1.1.html#schema."""
    assert re.fullmatch(r"3\.1\.\d+", DOCUMENT["openapi"])
    assert DOCUMENT["info"]["title"]
    assert DOCUMENT["info"]["version"]
    for node in walk(DOCUMENT):
        if isinstance(node.get("$ref"), str):
            assert resolve(node["$ref"], DOCUMENT) is not None
    assert len(set(IDS)) == len(IDS)
    schemes = DOCUMENT["components"]["securitySchemes"]
    assert all(name in schemes for each in DOCUMENT["security"] for name in each)
    for name in (key for part in DOCUMENT["components"].values() for key in part):
        assert re.fullmatch(r"[a-zA-Z0-9._-]+", name)


@pytest.mark.parametrize(("path", "method", "said"), OPERATIONS, ids=IDS)
def test_an_operation_is_sound(path: str, method: str, said: dict[str, Any]) -> None:
    assert path.startswith("/api/v1/")
    assert method in METHODS
    assert said["summary"].endswith(".")
    parameters = [resolve(each["$ref"], DOCUMENT) if "$ref" in each else each for each in said["parameters"]]
    assert len({(each["name"], each["in"]) for each in parameters}) == len(parameters)
    assert {each["name"] for each in parameters if each["in"] == "path"} == set(re.findall(r"{(\w+)}", path))
    for each in parameters:
        assert each["in"] in ("path", "query", "header")
        assert each["required"] is True or each["in"] != "path"
        assert "schema" in each
    assert ("requestBody" in said) == (method in ("post", "put"))
    assert said["responses"]
    for status, response in said["responses"].items():
        response = resolve(response["$ref"], DOCUMENT) if "$ref" in response else response
        assert response["description"]
        assert status == "default" or re.fullmatch("[1-5]\\d\\d", status)
        assert ("content" in response) == (status != "101")
        assert all("schema" in content for content in response.get("content", {}).values())


def test_every_endpoint_is_in_it_and_nothing_else() -> None:
    table = {("/api/v1" + each.path.replace(":path", ""), each.method.lower()) for each in ENDPOINTS}
    assert {(path, method) for path, method, _ in OPERATIONS} == table
    codes = DOCUMENT["components"]["responses"]["Error"]["x-codes"]
    assert codes.items() <= {code: kind.status for code, kind in error_types().items()}.items()
    assert {"not_found", "conflict", "key_reused", "version_mismatch", "store_error"} <= set(codes)


def test_it_is_served(unix: httpx.Client) -> None:
    assert unix.get("/openapi.json").json() == DOCUMENT


@pytest.mark.parametrize(("path", "method", "said"), OPERATIONS, ids=IDS)
def test_the_answer_is_what_the_document_says(
    unix: httpx.Client, plane: PlaneDouble, tmp_path: Path, path: str, method: str, said: dict[str, Any]
) -> None:
    plane.folder = tmp_path
    for name in ("work", "private"):
        (tmp_path / name).mkdir()
    (tmp_path / "work" / "f").write_bytes(b"content")
    ident = plane.add("job", created_at=1.0)
    plane.say(ident, "a line")
    unix.post("/models", json=GOOD["addModel"])
    unix.put("/secrets/S", json=GOOD["putSecret"])
    unix.post("/keys", json={"name": "K", "digest": "cd" * 32})
    name = said["operationId"]
    if "requestBody" in said:
        ((media, content),) = said["requestBody"]["content"].items()
        schema = content["schema"]
        assert media != "application/json" or mistakes(GOOD.get(name, {}), schema, DOCUMENT) == []
    url = path.removeprefix("/api/v1").replace("{ref}", NAMES.get(name, "job"))
    if "101" in said["responses"]:
        return  # it takes the connection over: test_api_terminal.py
    answer = unix.request(
        method, url, params=QUERIES.get(name), json=GOOD.get(name, {}) if method in ("post", "put") else None
    )
    assert str(answer.status_code) in said["responses"], answer.text
    described = said["responses"][str(answer.status_code)]
    ((media, content),) = described["content"].items()
    if media == "application/octet-stream":
        assert answer.content == b"content"
        return
    assert answer.headers["content-type"] == media
    if "x-line" in content["schema"]:
        lines = [json.loads(line) for line in answer.text.splitlines()]
        seals = {"end"} if name == "searchLogs" else {"cursor", "end"}  # a search cannot be gone on with
        assert {key for line in lines for key in line} > seals
        assert [wrong for line in lines for wrong in mistakes(line, content["schema"]["x-line"], DOCUMENT)] == []
    else:
        assert mistakes(answer.json(), content["schema"], DOCUMENT) == []


def from_schema(schema: dict[str, Any], depth: int = 3) -> st.SearchStrategy[Any]:
    """Values as the schema says, and now and then something else."""
    if "$ref" in schema:
        return from_schema(resolve(schema["$ref"], DOCUMENT), depth)
    if "anyOf" in schema:
        return st.one_of([from_schema(arm, depth) for arm in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"]) | texts
    if "const" in schema:
        return st.just(schema["const"])
    match schema.get("type"):
        case "integer":
            return st.integers(schema.get("minimum", -2), schema.get("maximum", 2**70)) | texts
        case "number":
            return st.floats(schema.get("minimum"), schema.get("maximum"), allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            items = schema.get("items", {})
            return st.lists(from_schema(items if isinstance(items, dict) else {}, depth - 1), max_size=2)
        case "object" if depth > 0:
            properties = {key: from_schema(each, depth - 1) for key, each in schema.get("properties", {}).items()}
            needed = {key: value for key, value in properties.items() if key in schema.get("required", [])}
            rest = {key: value for key, value in properties.items() if key not in needed}
            return st.fixed_dictionaries(needed, optional=rest)
        case _:
            return texts


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, dict[str, Any], dict[str, str], Any]:
    path, method, said = draw(st.sampled_from(OPERATIONS))
    query: dict[str, Any] = {}
    headers: dict[str, str] = {}
    for each in said["parameters"]:
        each = resolve(each["$ref"], DOCUMENT) if "$ref" in each else each
        if each["in"] == "query" and each["name"] != "follow" and draw(st.booleans()):
            value = draw(from_schema(each["schema"]))
            query[each["name"]] = ",".join(map(str, value)) if isinstance(value, list) else value
        elif each["in"] == "header" and draw(st.booleans()):
            headers[each["name"]] = draw(st.from_regex(r"\A[!-~]{1,20}\Z"))
    ref = draw(st.sampled_from(["job", "w0000", "n0", "m"]) | texts.filter(bool))
    body = None
    if "requestBody" in said:
        ((_, content),) = said["requestBody"]["content"].items()
        body = draw(from_schema(content["schema"]))
    query.pop("wait_s", None)
    return method, path.replace("{ref}", quote(ref, safe="")), query, headers, body


@settings(max_examples=200, deadline=None)
@given(asked=requests())
def test_requests_as_the_document_has_them_are_answered(asked: tuple[str, str, Any, Any, Any]) -> None:
    method, path, query, headers, body = asked
    plane = PlaneDouble()
    plane.add("job", created_at=1.0)
    app = create_app(plane, Access(uid=1))

    async def as_operator(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "extensions": {PEER: {"uid": 1}}}, receive, send)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(as_operator)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            return await http.request(method, path, params=query, headers=headers, json=body)

    try:
        response = asyncio.run(ask())
    finally:
        app.state.service.close()
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        error = {"$ref": "#/components/schemas/ErrorAnswer"}
        assert mistakes(response.json(), error, DOCUMENT) == []
