"""What the API refuses, and how it says so."""

from __future__ import annotations

import json
import logging
import socket
from typing import Any

import httpx
import pytest
from plane_double import PlaneDouble
from plane_server import TOKEN

from ampacity import __version__
from ampacity.api.app import create_app
from ampacity.api.authorize import Access, Action, token_digest
from ampacity.api.edge import PEER
from ampacity.api.server import RunningServer
from ampacity.api.table import ENDPOINTS
from ampacity.api.wire import MAX_BODY_BYTES
from ampacity.model.errors import DriverUnavailable

UID = 4242
BODIES: dict[str, dict[str, Any]] = {
    "/workloads": {"spec": {"name": "x", "kind": "task", "run": "true"}},
    "/workloads/{ref}/desired": {"wish": "stop"},
    "/nodes/{ref}/condition": {"condition": "ready"},
    "/models": {"name": "m", "path": "/m"},
    "/shutdown": {},
    "/queues": {"file": "queues: {}"},
    "/topology": {"file": "licences: {a: 1}"},
    "/routes": {"file": "routes: {a: b}"},
    "/nodes/{ref}/marks": {"labels": {"zone": "a"}},
    "/secrets/{ref}": {"value": "dmFsdWU="},
    "/keys": {"name": "k", "digest": "ab" * 32},
    "/keys/{ref}/limits": {"limits": {}},
    "/limits": {"limits": {}},
}


def error_of(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"code", "message", "hint", "where"}
    assert set(error["where"]) == {"file", "line", "key"}
    assert "Traceback" not in response.text
    return error


def as_peer(plane: PlaneDouble, uid: int | None) -> httpx.AsyncClient:
    """The app as a Unix socket's peer of that uid sees it; ``None`` = over TCP."""
    app = create_app(plane, Access(uid=UID, token_sha256=token_digest(TOKEN)))

    async def with_peer(scope: Any, receive: Any, send: Any) -> None:
        extensions = {} if uid is None else {PEER: {"uid": uid}}
        await app({**scope, "extensions": extensions}, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(with_peer), base_url="http://localhost/api/v1")


async def every_endpoint(http: httpx.AsyncClient, **headers: str) -> list[httpx.Response]:
    async with http:
        return [
            await http.request(
                each.method,
                each.path.replace("{ref}", "x").replace("{ref:path}", "x"),
                json=BODIES.get(each.path) if each.method in ("POST", "PUT") else None,
                headers=headers,
            )
            for each in ENDPOINTS
        ]


def run(coroutine: Any) -> Any:
    import asyncio

    return asyncio.run(coroutine)


def test_every_route_asks_whether_it_is_allowed(plane: PlaneDouble) -> None:
    """Another local user is known, and refused everywhere, before the plane hears of it."""
    responses = run(every_endpoint(as_peer(plane, uid=UID + 1)))
    assert [(each.status_code, error_of(each)["code"]) for each in responses] == [(403, "forbidden")] * len(ENDPOINTS)
    assert plane.calls == {}
    assert {each.action for each in ENDPOINTS} == set(Action)


def test_every_route_asks_who_it_is(plane: PlaneDouble) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
        responses = run(every_endpoint(as_peer(plane, uid=None), **headers))
        assert {(each.status_code, error_of(each)["code"]) for each in responses} == {(401, "unauthorized")}
        assert {each.headers["www-authenticate"] for each in responses} == {"Bearer"}
    assert plane.calls == {}


@pytest.mark.parametrize("uid", [0, UID])
def test_the_servers_user_and_root_are_let_in(plane: PlaneDouble, uid: int) -> None:
    responses = run(every_endpoint(as_peer(plane, uid=uid)))
    assert not {each.status_code for each in responses} & {401, 403}
    assert plane.calls["shutdown"] == 1


def test_a_stranger_with_the_token_is_let_in_and_one_with_a_wrong_token_is_not(plane: PlaneDouble) -> None:
    async def ask(authorization: str) -> int:
        async with as_peer(plane, uid=UID + 1) as http:
            return (await http.get("/status", headers={"authorization": authorization})).status_code

    assert run(ask(f"bearer {TOKEN}")) == 200
    assert run(ask(f"Bearer {TOKEN}x")) == 401


def test_without_a_token_of_its_own_the_server_takes_none(plane: PlaneDouble) -> None:
    app = create_app(plane, Access(uid=UID))

    async def ask(token: str) -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost/api/v1") as http:
            return (await http.get("/status", headers={"authorization": f"Bearer {token}"})).status_code

    assert [run(ask(token)) for token in ("", "x", TOKEN)] == [401, 401, 401]


def test_tcp_asks_for_the_token(tcp: httpx.Client) -> None:
    assert error_of(tcp.get("/status"))["hint"].startswith("Send `Authorization: Bearer")
    assert tcp.get("/status", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost:80:80", ""])
def test_a_foreign_host_is_refused_on_tcp(tcp: httpx.Client, unix: httpx.Client, host: str) -> None:
    headers = {"Host": host, "Authorization": f"Bearer {TOKEN}"}
    refused = tcp.get("/status", headers=headers)
    assert (refused.status_code, error_of(refused)["code"]) == (421, "bad_request")
    assert unix.get("/status", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:65535", "[::1]", "[::1]:7077"])
def test_names_of_the_loopback_interface_are_ours(tcp: httpx.Client, host: str) -> None:
    response = tcp.get("/status", headers={"Host": host, "Authorization": f"Bearer {TOKEN}"})
    assert response.status_code == 200


@pytest.mark.parametrize("declared", [True, False])
def test_an_oversized_body_is_refused(unix: httpx.Client, plane: PlaneDouble, declared: bool) -> None:
    chunk = b" " * (1 << 20)
    count = (MAX_BODY_BYTES >> 20) + 1
    content = chunk * count if declared else (chunk for _ in range(count))
    refused = unix.post("/workloads", content=content)
    assert (refused.status_code, error_of(refused)["code"]) == (413, "bad_request")
    assert "submit" not in plane.calls
    assert unix.get("/status").status_code == 200


@pytest.mark.parametrize(
    ("content", "place", "line"),
    [
        (b"{", "line 1, column 2", 1),
        (b'{"spec": {},\n\n nope}', "line 3, column 2", 3),
        (b"\xff\xfe", "line 1, column 1", 1),
        (b'{"file": "\xff"}', "not UTF-8", 0),
        (b"[" * 100_000, "nested too deeply", 0),
    ],
)
def test_garbage_for_json_is_refused_with_its_place(unix: httpx.Client, content: bytes, place: str, line: int) -> None:
    refused = unix.post("/workloads", content=content)
    error = error_of(refused)
    assert (refused.status_code, error["code"], error["where"]["line"]) == (400, "bad_request", line)
    assert place in error["message"]


@pytest.mark.parametrize(
    ("path", "body", "key", "says"),
    [
        ("/workloads", [], "", "Expected `object`"),
        ("/workloads", {}, "file", "either `file` or `spec`"),
        ("/workloads", {"spec": {"name": "x", "kind": "task"}, "file": "a"}, "file", "either `file` or `spec`"),
        ("/workloads", {"spec": {"name": "x", "kind": "tusk"}}, "spec.kind", "Invalid enum value 'tusk'"),
        ("/workloads", {"spec": {"name": "x", "kind": "task", "runn": "a"}}, "spec.runn", "did you mean 'run'"),
        ("/workloads", {"spec": {"kind": "task"}}, "spec", "missing required field `name`"),
        ("/workloads", {"file": "run: a", "directory": "here"}, "directory", "absolute"),
        ("/workloads", {"specs": {}}, "specs", "did you mean 'spec'"),
        ("/workloads/x/desired", {}, "wish", "`wish`, `replicas` or `size`"),
        ("/workloads/x/desired", {"replicas": "3"}, "replicas", "Expected `int | null`, got `str`"),
        ("/workloads/x/desired", {"replicas": -1}, "replicas", ">= 0"),
        ("/workloads/x/desired", {"replicas": 20_000}, "replicas", "<= 10000"),
        ("/nodes/n0/condition", {"condition": "unknown"}, "condition", "Invalid enum value 'unknown'"),
        ("/models", {"name": "", "path": "/x"}, "name", "length >= 1"),
        ("/models", {"name": "m", "path": "x"}, "path", "not absolute"),
        ("/shutdown", {"workload": True}, "workload", "did you mean 'workloads'"),
    ],
)
def test_a_wrong_body_is_refused_by_its_key(
    unix: httpx.Client, plane: PlaneDouble, path: str, body: object, key: str, says: str
) -> None:
    refused = unix.post(path, json=body)
    error = error_of(refused)
    assert (refused.status_code, error["code"], error["where"]["key"]) == (422, "invalid_spec", key)
    assert says.lower() in f"{error['message']} {error['hint']}".lower()
    assert plane.calls == {}


@pytest.mark.parametrize(
    ("path", "key", "says"),
    [
        ("/status?x=1", "x", "none is taken"),
        ("/workloads?projct=a", "projct", "did you mean 'project'"),
        ("/workloads?limit=0", "limit", ">= 1"),
        ("/workloads?limit=5000", "limit", "<= 1000"),
        ("/workloads?limit=1&limit=2", "limit", "given twice"),
        ("/workloads?kind=tusk", "kind[0]", "invalid enum value 'tusk'"),
        ("/workloads?next=yesterday", "next", "the `next` of the page before"),
        ("/workloads/x?wait_s=nan", "wait_s", "expected"),
        ("/workloads/x?wait_s=31", "wait_s", "<= 30"),
        ("/workloads/x/logs?follow=maybe", "follow", "expected `bool`"),
        ("/workloads/x/logs?tails=3", "tails", "did you mean 'tail'"),
        ("/events?after=-1", "after", ">= 0"),
        ("/events?workload=", "workload", "empty"),
    ],
)
def test_a_wrong_parameter_is_refused_by_its_name(
    unix: httpx.Client, plane: PlaneDouble, path: str, key: str, says: str
) -> None:
    refused = unix.get(path)
    error = error_of(refused)
    assert (refused.status_code, error["code"], error["where"]["key"]) == (422, "invalid_spec", key)
    assert says in f"{error['message']} {error['hint']}".lower()
    assert plane.calls == {}


def test_unknown_paths_and_methods_are_answered_in_json(unix: httpx.Client) -> None:
    for path in ("/nothing", "/workloads/", "/workloads/a/b", "/../../status"):
        missing = unix.get(path)
        assert (missing.status_code, error_of(missing)["code"]) == (404, "bad_request")
    wrong = unix.put("/workloads", json={})
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, POST")
    assert error_of(wrong)["hint"] == "It takes GET, POST."
    head = unix.head("/events?follow")
    assert (head.status_code, head.headers["x-ampacity-version"]) == (405, __version__)


def test_an_unknown_workload_is_a_404_also_for_streams(unix: httpx.Client) -> None:
    for path in ("/workloads/no", "/workloads/no/why", "/workloads/no/logs?follow", "/events?workload=no&follow"):
        missing = unix.get(path)
        assert (missing.status_code, error_of(missing)["code"]) == (404, "not_found")


def test_what_breaks_inside_is_logged_under_an_id_and_not_told(
    unix: httpx.Client, plane: PlaneDouble, caplog: pytest.LogCaptureFixture
) -> None:
    plane.fail["nodes"] = ZeroDivisionError("a secret of the inside")
    with caplog.at_level(logging.ERROR):
        broken = unix.get("/nodes")
    error = error_of(broken)
    assert (broken.status_code, error["code"]) == (500, "error")
    assert "secret" not in broken.text
    assert "ZeroDivisionError" not in broken.text
    ident = error["message"].split("id ")[1].split(")")[0]
    (record,) = [each for each in caplog.records if ident in each.getMessage()]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)


def test_our_own_errors_keep_their_status(unix: httpx.Client, plane: PlaneDouble) -> None:
    plane.fail["why"] = DriverUnavailable("The driver does not answer.", hint="Wait.")
    response = unix.get("/workloads/x/why")
    error = error_of(response)
    assert (response.status_code, error["code"], error["hint"]) == (503, "driver_unavailable", "Wait.")


def test_an_error_in_the_middle_of_a_stream_is_its_last_line(unix: httpx.Client, plane: PlaneDouble) -> None:
    ident = plane.add("job", created_at=1.0)
    plane.say(ident, "hello")
    with unix.stream("GET", f"/workloads/{ident}/logs?follow") as response:
        lines = response.iter_lines()
        assert "record" in json.loads(next(lines))
        assert "cursor" in json.loads(next(lines))
        plane.fail["logs"] = RuntimeError("a secret")
        last = [json.loads(line) for line in lines if line]
    assert [line["error"]["code"] for line in last] == ["error"]
    assert "secret" not in str(last)


def test_garbage_on_the_socket_is_answered_in_json_and_harms_nobody(server: RunningServer, unix: httpx.Client) -> None:
    for garbage in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"hello there\r\n\r\n",
        b"GET / HTTP/9\r\n\r\n",
    ):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.settimeout(10)
            raw.connect(server.socket_path)
            raw.sendall(garbage)
            answer = read_all(raw)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert json.loads(answer.split(b"\r\n\r\n")[1])["error"]["code"] == "bad_request"
    assert unix.get("/status").status_code == 200


def test_endless_headers_are_cut_off(server: RunningServer, unix: httpx.Client) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(10)
        raw.connect(server.socket_path)
        raw.sendall(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        answer = b""
        try:
            for _ in range(64):
                raw.sendall(b"a" * (64 << 10))
        except OSError:
            pass
        answer = read_all(raw)
    assert answer.startswith(b"HTTP/1.1 431 ") or not answer
    assert unix.get("/status").status_code == 200


def read_all(raw: socket.socket) -> bytes:
    parts = []
    while True:
        try:
            part = raw.recv(65536)
        except ConnectionResetError:
            break
        if not part:
            break
        parts.append(part)
    return b"".join(parts)
