"""Whatever comes in, what goes out is an answer or one of our errors, and never a broken server."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import given, settings
from hypothesis import strategies as st
from plane_double import PlaneDouble

from ampacity.api.app import create_app
from ampacity.api.authorize import Access
from ampacity.api.edge import PEER
from ampacity.api.table import ENDPOINTS

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
keys = st.sampled_from(
    ["spec", "file", "name", "directory", "kind", "run", "wish", "replicas", "path", "tags", "step", "condition"]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | text, inner, max_size=4),
    max_leaves=8,
)
parameters = st.dictionaries(
    st.sampled_from(["tail", "limit", "next", "after", "rank", "cursor", "kind", "all", "project"]) | text,
    st.integers().map(str) | text,
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(endpoint=st.sampled_from(ENDPOINTS), ref=text, query=parameters, body=json_values)
def test_every_endpoint_stands_any_input(endpoint: Any, ref: str, query: dict[str, str], body: Any) -> None:
    plane = PlaneDouble()
    plane.add("job", created_at=1.0)
    app = create_app(plane, Access(uid=1))

    async def as_operator(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "extensions": {PEER: {"uid": 1}}}, receive, send)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(as_operator)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            path = endpoint.path.replace("{ref:path}", "{ref}").replace("{ref}", quote(ref, safe=""))
            content = body if endpoint.method in ("POST", "PUT") else None
            return await http.request(endpoint.method, "/api/v1" + path, params=query, json=content)

    try:
        response = asyncio.run(ask())
    finally:
        app.state.service.close()
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.json()["error"]["message"]
