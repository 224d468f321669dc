"""The table of bad input at the socket: what comes in as bytes, what goes out, and that the server stands."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass

import httpx
import pytest
from plane_double import PlaneDouble
from plane_server import TOKEN

from ampacity.api.server import RunningServer
from ampacity.api.wire import MAX_BODY_BYTES

BEARER = f"Authorization: Bearer {TOKEN}\r\n"
LOCAL = "Host: localhost\r\n"


@dataclass(frozen=True)
class Case:
    """``sent`` over TCP (with ``unix``: over the Unix socket); ``status`` 0 = the connection is just closed."""

    name: str
    sent: bytes
    status: int
    code: str = "bad_request"
    unix: bool = False


def get(path: str, *headers: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\n{''.join(headers)}\r\n".encode()


def post(path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    said = len(body) if length is None else length
    return f"POST {path} HTTP/1.1\r\n{''.join(headers)}Content-Length: {said}\r\n\r\n".encode() + body


SUBMIT = "/api/v1/workloads"
CASES = [
    # Bytes that are no HTTP
    Case("tls", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    Case("text", b"hello there\r\n\r\n", 400),
    Case("zeros", b"\0" * 4096 + b"\r\n\r\n", 400),
    Case("http-9", b"GET / HTTP/9\r\n\r\n", 400),
    Case("no-method", b" /api/v1/status HTTP/1.1\r\n\r\n", 400),
    Case("newline-in-header", get("/api/v1/status", LOCAL, "A\r\n b\r\n"), 400),
    Case("two-lengths", get(SUBMIT, LOCAL, "Content-Length: 1\r\nContent-Length: 2\r\n"), 400),
    Case("length-and-chunks", get(SUBMIT, LOCAL, "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"), 400),
    Case("negative-length", get(SUBMIT, LOCAL, "Content-Length: -1\r\n"), 400),
    Case("bad-chunk", post(SUBMIT, b"", LOCAL, BEARER).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
         + b"zz\r\n", 400),
    Case("long-header", get("/api/v1/status", LOCAL, f"X: {'a' * 200_000}\r\n"), 431),
    Case("long-path", get("/api/v1/" + "a" * 200_000, LOCAL), 431),
    # Hosts: a web page whose name points at the loopback interface sends its own
    Case("no-host", get("/api/v1/status", BEARER), 421),
    Case("foreign-host", get("/api/v1/status", "Host: evil.example\r\n", BEARER), 421),
    Case("foreign-host-port", get("/api/v1/status", "Host: evil.example:7410\r\n", BEARER), 421),
    Case("two-hosts", get("/api/v1/status", LOCAL, "Host: evil.example\r\n", BEARER), 421),
    Case("host-with-user", get("/api/v1/status", "Host: localhost@evil.example\r\n", BEARER), 421),
    Case("host-suffix", get("/api/v1/status", "Host: localhost.evil.example\r\n", BEARER), 421),
    Case("host-of-all", get("/api/v1/status", "Host: 0.0.0.0\r\n", BEARER), 421),
    Case("web-page-writes", post(SUBMIT, b"{}", "Host: evil.example\r\n", "Origin: http://evil.example\r\n"), 421),
    # Tokens
    Case("no-token", get("/api/v1/status", LOCAL), 401, "unauthorized"),
    Case("web-page-without-token", post(SUBMIT, b"{}", LOCAL, "Origin: http://evil.example\r\n"), 401, "unauthorized"),
    Case("wrong-token", get("/api/v1/status", LOCAL, "Authorization: Bearer no\r\n"), 401, "unauthorized"),
    Case("empty-token", get("/api/v1/status", LOCAL, "Authorization: Bearer \r\n"), 401, "unauthorized"),
    Case("basic", get("/api/v1/status", LOCAL, f"Authorization: Basic {TOKEN}\r\n"), 401, "unauthorized"),
    Case("token-in-query", get(f"/api/v1/status?token={TOKEN}", LOCAL), 401, "unauthorized"),
    Case("token-not-ascii", get("/api/v1/status", LOCAL, "Authorization: Bearer ü\r\n"), 401, "unauthorized"),
    Case("wrong-token-on-the-unix-socket", get("/api/v1/status", LOCAL, "Authorization: Bearer no\r\n"), 401,
         "unauthorized", unix=True),
    # Paths and methods
    Case("root", get("/", LOCAL, BEARER), 404),
    Case("no-such-path", get("/api/v1/nothing", LOCAL, BEARER), 404),
    Case("dots", get("/api/v1/../../etc/passwd", LOCAL, BEARER), 404),
    Case("bad-escape", get("/api/v1/workloads/%ff%fe", LOCAL, BEARER), 404, "not_found"),
    Case("zero-in-name", get("/api/v1/workloads/a%00b", LOCAL, BEARER), 404, "not_found"),
    Case("absolute-url", get("http://evil.example/api/v1/nothing", LOCAL, BEARER), 404),
    Case("other-version", get("/api/v9/status", LOCAL, BEARER), 426, "version_mismatch"),
    Case("other-client", get("/api/v1/nodes", LOCAL, BEARER, "User-Agent: ampacity/9.0.0\r\n"), 426,
         "version_mismatch"),
    Case("method", get("/api/v1/status", LOCAL, BEARER).replace(b"GET", b"PATCH"), 405),
    Case("trace", get("/api/v1/status", LOCAL, BEARER).replace(b"GET", b"TRACE"), 405),
    # Bodies
    Case("announced-too-large", post(SUBMIT, b"", LOCAL, BEARER, length=MAX_BODY_BYTES + 1), 413),
    Case("no-json", post(SUBMIT, b"{", LOCAL, BEARER), 400),
    Case("json-list", post(SUBMIT, b"[]", LOCAL, BEARER), 422, "invalid_spec"),
    Case("deep-json", post(SUBMIT, b"[" * 100_000, LOCAL, BEARER), 400),
    Case("not-utf-8", post(SUBMIT, b'{"file": "\xff"}', LOCAL, BEARER), 400),
    Case("half-a-surrogate", post(SUBMIT, b'{"file": "\\ud800", "directory": "/"}', LOCAL, BEARER), 400),
    Case("huge-number", post("/api/v1/workloads/x/desired", b'{"replicas": 1e999}', LOCAL, BEARER), 400),
    Case("unknown-key", post("/api/v1/shutdown", b'{"now": true}', LOCAL, BEARER), 422, "invalid_spec"),
    Case("bad-key", post("/api/v1/shutdown", b"{}", LOCAL, BEARER, "Idempotency-Key: a b\r\n"), 400),
    Case("body-cut-short", post("/api/v1/shutdown", b"{", LOCAL, BEARER, length=100), 0),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_answered_and_harms_nobody(
    server: RunningServer, unix: httpx.Client, plane: PlaneDouble, case: Case
) -> None:
    answer = exchange(server, case)
    if case.status == 0:
        assert answer == b""
    else:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.split(b" ")[1] == str(case.status).encode(), head
        assert b"x-ampacity-version" in head.lower()
        error = json.loads(body)["error"]
        assert error["code"] == case.code
        assert error["message"]
        assert "Traceback" not in body.decode()
        assert TOKEN.encode() not in body
    assert {"submit", "shutdown", "set_desired"} & set(plane.calls) == set()
    assert unix.get("/status").status_code == 200


def exchange(server: RunningServer, case: Case) -> bytes:
    """The one answer; of a case that gets none, all that comes once the sending side was closed."""
    family = socket.AF_UNIX if case.unix else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(20)
        sock.connect(server.socket_path if case.unix else ("127.0.0.1", server.port))
        answer = b""
        try:
            sock.sendall(case.sent)
            if case.status == 0:
                sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it was refused before it was read to its end
        try:
            while not whole(answer) and (part := sock.recv(65536)):
                answer += part
        except ConnectionResetError:
            pass
    return answer


def whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    said = re.search(rb"content-length: (\d+)", head.lower())
    return bool(end) and said is not None and len(body) >= int(said[1])
