"""Every endpoint, with good input: what the plane was told, and what came back."""

from __future__ import annotations

import json
import os
import pwd
import time
from typing import Any

import httpx
import pytest
from plane_double import PlaneDouble

from ampacity import __version__
from ampacity.control.plane import LogSlice
from ampacity.model.codec import from_plain, to_plain
from ampacity.model.view import ProgressPoint, Status, WorkloadView
from ampacity.model.workload import WorkloadKind, WorkloadSpec

SPEC = WorkloadSpec(name="hello", kind=WorkloadKind.TASK, run="echo hello", envs={"A": "1"})


def lines_of(response: httpx.Response) -> list[dict[str, object]]:
    return [json.loads(line) for line in response.content.split(b"\n") if line]


def test_status_is_the_planes_and_names_the_version(unix: httpx.Client) -> None:
    response = unix.get("/status")
    assert response.status_code == 200
    assert response.headers["x-ampacity-version"] == __version__
    assert response.headers["content-type"] == "application/json"
    assert from_plain(response.json(), Status).nodes == 2


def test_a_spec_is_submitted_and_comes_back_whole(unix: httpx.Client, plane: PlaneDouble) -> None:
    response = unix.post("/workloads", json={"spec": to_plain(SPEC), "project": "p", "owner": "o"})
    assert response.status_code == 201, response.text
    (view,) = (from_plain(each, WorkloadView) for each in response.json()["workloads"])
    assert view.spec == SPEC
    assert (view.workload.project, view.workload.owner) == ("p", "o")
    assert unix.get(f"/workloads/{view.workload.id}").json() == response.json()["workloads"][0]
    assert unix.get("/workloads/hello", params={"project": "p"}).json()["workload"]["id"] == view.workload.id


def test_a_listing_shows_the_live_ones_and_then_the_latest_ended(unix: httpx.Client, plane: PlaneDouble) -> None:
    for index in range(30):
        plane.add(f"old-{index}", created_at=100.0 + index, phase="failed")
    plane.add("live", created_at=1.0)
    plane.add("gateway", created_at=2.0, project="system")
    answer = unix.get("/workloads").json()
    names = [view["workload"]["name"] for view in answer["workloads"]]
    assert names == ["live", *(f"old-{index}" for index in range(29, 9, -1))]
    assert answer["next"] is None
    system = unix.get("/workloads?project=system").json()["workloads"]
    assert [view["workload"]["name"] for view in system] == ["gateway"]


def test_all_is_read_page_by_page(unix: httpx.Client, plane: PlaneDouble) -> None:
    for index in range(7):
        plane.add(f"w{index}", created_at=float(index // 2), phase="failed" if index % 2 else "waiting")
    names, before = [], None
    for _ in range(4):
        params = {"all": "true", "limit": "2"} | ({"next": before} if before else {})
        answer = unix.get("/workloads", params=params).json()
        names += [view["workload"]["name"] for view in answer["workloads"]]
        before = answer["next"]
    assert before is None
    assert names == [f"w{index}" for index in range(6, -1, -1)]


def test_pages_of_nodes_and_models_do_not_shift(unix: httpx.Client, plane: PlaneDouble) -> None:
    """What is added or removed between two pages neither hides one nor shows one twice."""
    for name in ("b", "c", "d"):
        unix.post("/models", json={"name": name, "path": "/x"})
    first = unix.get("/models?limit=2").json()
    assert [model["name"] for model in first["models"]] == ["b", "c"]
    unix.post("/models", json={"name": "a", "path": "/x"})
    unix.delete("/models/b")
    second = unix.get("/models", params={"limit": "2", "next": first["next"]}).json()
    assert ([model["name"] for model in second["models"]], second["next"]) == (["d"], None)
    page = unix.get("/nodes?limit=1").json()
    assert [view["node"]["id"] for view in page["nodes"]] == ["n0"]
    page = unix.get("/nodes", params={"limit": "1", "next": page["next"]}).json()
    assert ([view["node"]["id"] for view in page["nodes"]], page["next"]) == (["n1"], None)
    for listing in ("nodes", "models", "workloads"):
        assert unix.get(f"/{listing}?limit=1001").json()["error"]["where"]["key"] == "limit"
        assert unix.get(f"/{listing}?next=!").json()["error"]["where"]["key"] == "next"


def test_a_listing_chooses_by_kind_and_phase(unix: httpx.Client, plane: PlaneDouble) -> None:
    plane.add("a", created_at=1.0, phase="failed")
    plane.add("b", created_at=2.0, phase="succeeded")
    plane.add("c", created_at=3.0)

    def names(query: str) -> list[str]:
        return [view["workload"]["name"] for view in unix.get(f"/workloads?{query}").json()["workloads"]]

    assert names("phase=failed,waiting") == ["c", "a"]
    assert names("phase=failed&phase=succeeded&kind=task") == ["b", "a"]
    assert names("kind=train,service&all") == []


def test_wishes_are_passed_on_with_the_name_of_who_asked(unix: httpx.Client, plane: PlaneDouble) -> None:
    ident = plane.add("web", created_at=1.0)
    scaled = unix.post("/workloads/web/desired", json={"replicas": 3}).json()
    assert scaled["desired"]["replicas"] == 3
    stopped = unix.post(f"/workloads/{ident}/desired", json={"wish": "stop"}).json()
    assert stopped["desired"]["wish"] == "stop"
    assert stopped["desired"]["by"] == pwd.getpwuid(os.getuid()).pw_name
    plane.end(ident)
    refused = unix.post(f"/workloads/{ident}/desired", json={"wish": "stop"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "conflict")


def test_why_and_progress(unix: httpx.Client, plane: PlaneDouble) -> None:
    plane.add("job", created_at=1.0)
    plane.points = (ProgressPoint(at=1.0, epoch=1, incarnation=0, step=3, loss=0.5),)
    assert unix.get("/workloads/job/why").json()["headline"] == "It waits."
    assert unix.get("/workloads/job/progress").json()["points"][0]["loss"] == 0.5


def test_nodes_and_their_condition(unix: httpx.Client, plane: PlaneDouble) -> None:
    assert [view["node"]["id"] for view in unix.get("/nodes").json()["nodes"]] == ["n0", "n1"]
    answer = unix.post("/nodes/n1/condition", json={"condition": "cordoned"}).json()
    assert answer["node"]["condition"] == "cordoned"
    assert len(plane.actors) == 1
    assert unix.post("/nodes/n9/condition", json={"condition": "ready"}).status_code == 404


def test_models_come_and_go(unix: httpx.Client) -> None:
    body = {"name": "org/tiny", "path": "/ckpt/1", "tags": ["best"], "run": "w1", "step": 10, "data": ["corpus"]}
    added = unix.post("/models", json=body)
    assert added.status_code == 201
    assert added.json()["lineage"]["data"] == ["corpus"]
    assert len(unix.get("/models").json()["models"]) == 1
    assert unix.get("/models?name=other").json()["models"] == []
    assert unix.get("/models/org/tiny:best").json()["version"] == 1
    assert unix.get("/models/org%2Ftiny:1").json()["name"] == "org/tiny"
    assert unix.delete("/models/org/tiny:1").json()["name"] == "org/tiny"
    gone = unix.get("/models/org/tiny")
    assert (gone.status_code, gone.json()["error"]["hint"]) == (404, "See `ampacity models`.")


@pytest.mark.parametrize(("body", "stops"), [(b"", False), (b"{}", False), (b'{"workloads": true}', True)])
def test_shutdown_is_asked_for(unix: httpx.Client, plane: PlaneDouble, body: bytes, stops: bool) -> None:
    assert unix.post("/shutdown", content=body).status_code == 202
    assert plane.shutdowns == [stops]


def test_logs_up_to_the_present_end(unix: httpx.Client, plane: PlaneDouble) -> None:
    ident = plane.add("job", created_at=1.0)
    plane.say(ident, *(f"line {index}" for index in range(2500)))
    response = unix.get("/workloads/job/logs")
    assert response.headers["content-type"] == "application/x-ndjson"
    lines = lines_of(response)
    texts = [line["record"]["text"] for line in lines if "record" in line]  # type: ignore[index]
    assert texts == [f"line {index}" for index in range(2500)]
    assert lines[-2:] == [{"cursor": "2500"}, {"end": "caught_up"}]
    plane.end(ident)
    again = lines_of(unix.get("/workloads/job/logs?follow&cursor=2499"))
    assert [list(line) for line in again] == [["record"], ["cursor"], ["end"]]
    assert again[-1] == {"end": "ended"}


@pytest.mark.parametrize(("tail", "expected"), [(0, 0), (1, 1), (1200, 1200), (9999, 2500)])
def test_the_tail_of_logs(unix: httpx.Client, plane: PlaneDouble, tail: int, expected: int) -> None:
    ident = plane.add("job", created_at=1.0)
    plane.say(ident, *(f"line {index}" for index in range(2500)))
    lines = lines_of(unix.get(f"/workloads/job/logs?tail={tail}"))
    texts = [line["record"]["text"] for line in lines if "record" in line]  # type: ignore[index]
    assert texts == [f"line {index}" for index in range(2500 - expected, 2500)]
    assert {"cursor": "2500"} in lines


def test_logs_of_one_rank(unix: httpx.Client, plane: PlaneDouble) -> None:
    ident = plane.add("job", created_at=1.0)
    plane.say(ident, "zero", rank=0)
    plane.say(ident, "one", rank=1)
    lines = lines_of(unix.get("/workloads/job/logs?rank=1"))
    assert [line["record"]["text"] for line in lines if "record" in line] == ["one"]  # type: ignore[index]


@pytest.mark.parametrize("tail", ["", "&tail=5000"])
def test_lines_of_others_in_between_are_no_end(unix: httpx.Client, plane: PlaneDouble, tail: str) -> None:
    """A page may hold few of the lines that were asked for, or none, and is still not the last."""
    ident = plane.add("job", created_at=1.0)
    for index in range(6):
        plane.say(ident, *["other"] * 1100, rank=0)
        plane.say(ident, f"mine {index}", rank=1)
    lines = lines_of(unix.get(f"/workloads/job/logs?rank=1{tail}"))
    texts = [line["record"]["text"] for line in lines if "record" in line]  # type: ignore[index]
    assert texts == [f"mine {index}" for index in range(6)]


def test_a_job_that_prints_without_end_is_not_chased(unix: httpx.Client, plane: PlaneDouble) -> None:
    """Without ``follow`` what is printed after the call is not waited for."""
    ident = plane.add("job", created_at=1.0)
    plane.say(ident, "old")
    real = plane.logs

    def printing(ref: str, **kwargs: Any) -> LogSlice:
        plane.say(ident, *["new"] * 1000, at=time.time() + 1.0)
        return real(ref, **kwargs)

    plane.logs = printing  # type: ignore[method-assign]
    for query in ("", "?tail=10"):
        lines = lines_of(unix.get(f"/workloads/job/logs{query}"))
        assert lines[-1] == {"end": "caught_up"}
        assert len(lines) < 5000


def test_events_after_a_number(unix: httpx.Client, plane: PlaneDouble) -> None:
    first = plane.add("a", created_at=1.0)
    plane.add("b", created_at=2.0)
    plane.end(first)
    lines = lines_of(unix.get("/events?after=1"))
    assert [line["event"]["seq"] for line in lines if "event" in line] == [2, 3]  # type: ignore[index]
    assert lines[-2:] == [{"cursor": "3"}, {"end": "caught_up"}]
    mine = lines_of(unix.get("/events?workload=a&limit=1&follow=true"))
    assert [line["event"]["seq"] for line in mine if "event" in line] == [1]  # type: ignore[index]
    assert mine[-1] == {"end": "limit"}


def test_a_wait_ends_with_the_workload(unix: httpx.Client, plane: PlaneDouble) -> None:
    import threading

    ident = plane.add("job", created_at=1.0)
    assert unix.get(f"/workloads/{ident}?wait_s=0.05").json()["workload"]["phase"] == "waiting"
    ender = threading.Timer(0.2, plane.end, [ident])
    ender.start()
    assert unix.get(f"/workloads/{ident}?wait_s=30", timeout=40).json()["workload"]["phase"] == "succeeded"
    ender.join()
