"""Streams while they run: following, heartbeats, readers that leave, servers that stop."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import httpx
import pytest
from plane_double import PlaneDouble

from ampacity.api import streams
from ampacity.api.server import RunningServer


def until(condition: Callable[[], bool], *, within_s: float = 120.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        threading.Event().wait(0.01)


def parsed(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in lines if line)


def test_lines_come_while_the_job_prints_them_and_end_with_it(unix: httpx.Client, plane: PlaneDouble) -> None:
    ident = plane.add("job", created_at=1.0)
    with unix.stream("GET", f"/workloads/{ident}/logs?follow=true") as response:
        lines = parsed(response.iter_lines())
        assert next(lines) == {"cursor": "0"}
        for index in range(3):
            plane.say(ident, f"line {index}")
            assert next(lines)["record"]["text"] == f"line {index}"
            assert next(lines) == {"cursor": str(index + 1)}
        plane.say(ident, "last words")
        plane.end(ident)
        assert [next(iter(line)) for line in lines] == ["record", "cursor", "end"]


def test_events_come_when_they_happen(unix: httpx.Client, plane: PlaneDouble) -> None:
    ident = plane.add("a", created_at=1.0)
    with unix.stream("GET", "/events?follow") as everything, unix.stream("GET", "/events?follow&workload=a") as mine:
        all_lines, my_lines = parsed(everything.iter_lines()), parsed(mine.iter_lines())
        assert [next(all_lines)["event"]["seq"], next(all_lines)] == [1, {"cursor": "1"}]
        assert [next(my_lines)["event"]["seq"], next(my_lines)] == [1, {"cursor": "1"}]
        plane.add("b", created_at=2.0)
        plane.end(ident)
        seen = [line["event"]["seq"] for line in islice((line for line in all_lines if "event" in line), 2)]
        assert seen == [2, 3]
        assert next(my_lines)["event"]["kind"] == "workload.ended"


def test_a_hundred_followers_leave_threads_for_others(
    own_unix: httpx.Client, plane: PlaneDouble, own_server: RunningServer
) -> None:
    plane.add("a", created_at=1.0)
    transport = httpx.HTTPTransport(uds=own_server.socket_path, limits=httpx.Limits(max_connections=None))
    with httpx.Client(transport=transport, base_url="http://localhost/api/v1", timeout=30) as http:
        open_streams = [http.send(http.build_request("GET", "/events?follow"), stream=True) for _ in range(100)]
        until(lambda: own_server.service.active_streams == 100)
        assert own_unix.get("/status").status_code == 200
        plane.add("b", created_at=2.0)
        for response in open_streams:
            seen = parsed(response.iter_lines())
            assert any(line.get("event", {}).get("seq") == 2 for line in seen)
            response.close()
    until(lambda: own_server.service.active_streams == 0)


@pytest.mark.parametrize("path", ["/workloads/a/logs?follow", "/events?follow"])
def test_a_reader_that_leaves_is_noticed(
    own_unix: httpx.Client, plane: PlaneDouble, own_server: RunningServer, path: str
) -> None:
    plane.add("a", created_at=1.0)
    with own_unix.stream("GET", path) as response:
        body = response.iter_bytes()  # kept: httpx closes the connection with it
        next(body)
        assert own_server.service.active_streams == 1
    until(lambda: own_server.service.active_streams == 0)


@pytest.mark.parametrize("path", ["/workloads/a/logs?follow", "/events?follow"])
def test_silence_is_filled_with_empty_lines(
    unix: httpx.Client, plane: PlaneDouble, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.05)
    plane.add("a", created_at=1.0)
    with unix.stream("GET", path) as response:
        seen = b""
        for chunk in response.iter_bytes():
            seen += chunk
            if seen.endswith(b"\n\n\n"):
                break
    assert seen.rstrip(b"\n").endswith(b"}")


@pytest.mark.parametrize("path", ["/workloads/a/logs?follow", "/events?follow"])
def test_a_server_that_stops_ends_its_streams_in_order(
    own_unix: httpx.Client, plane: PlaneDouble, own_server: RunningServer, path: str
) -> None:
    plane.add("a", created_at=1.0)
    with own_unix.stream("GET", path) as response:
        lines = parsed(response.iter_lines())
        while "cursor" not in next(lines):
            pass
        assert own_server.stop()
        assert list(lines) == [{"end": "shutdown"}]


def test_a_server_that_stops_answers_those_who_wait(
    own_unix: httpx.Client, plane: PlaneDouble, own_server: RunningServer
) -> None:
    plane.add("a", created_at=1.0)
    answers: list[httpx.Response] = []
    waiter = threading.Thread(target=lambda: answers.append(own_unix.get("/workloads/a?wait_s=30", timeout=40)))
    waiter.start()
    until(lambda: plane.calls.get("workload", 0) > 0)
    assert own_server.stop()
    waiter.join(120)
    assert answers[0].json()["workload"]["phase"] == "waiting"


def test_a_call_that_hangs_does_not_hold_up_the_stop(
    plane: PlaneDouble, own_server: RunningServer, own_unix: httpx.Client
) -> None:
    let_go, entered = threading.Event(), threading.Event()

    def hang() -> Any:
        entered.set()
        let_go.wait(60)
        raise RuntimeError("let go")

    plane.nodes = hang  # type: ignore[method-assign]
    outcome: list[Exception | int] = []

    def ask() -> None:
        try:
            outcome.append(own_unix.get("/nodes", timeout=60).status_code)
        except httpx.TransportError as error:
            outcome.append(error)

    asker = threading.Thread(target=ask)
    asker.start()
    assert entered.wait(120)
    try:
        assert own_server.stop(timeout_s=30)
        asker.join(120)
        assert len(outcome) == 1
    finally:
        let_go.set()
