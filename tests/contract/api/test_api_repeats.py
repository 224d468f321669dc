"""Idempotency keys: what is asked twice is done once, and answered as the first time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from plane_double import PlaneDouble

from ampacity.model.errors import DriverUnavailable

KEY = "Idempotency-Key"
SUBMISSION = {"spec": {"name": "a", "kind": "task", "run": "true"}}
FILE = {"file": "name: a\nrun: 'true'\n---\nname: b\nrun: 'true'\n", "directory": "/"}


def post(http: httpx.Client, path: str, body: Any, key: str = "k1") -> httpx.Response:
    return http.post(path, json=body, headers={KEY: key})


@pytest.mark.parametrize(
    ("path", "body", "method"),
    [
        ("/workloads", SUBMISSION, "submit"),
        ("/workloads/job/desired", {"wish": "stop"}, "set_desired"),
        ("/nodes/n0/condition", {"condition": "cordoned"}, "set_condition"),
        ("/models", {"name": "m", "path": "/m"}, "add_model"),
        ("/shutdown", {}, "shutdown"),
    ],
)
def test_a_repeat_gets_the_first_answer(
    unix: httpx.Client, plane: PlaneDouble, path: str, body: Any, method: str
) -> None:
    plane.add("job", created_at=1.0)
    first, second = post(unix, path, body), post(unix, path, body)
    assert first.is_success
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert (first.headers.get("Idempotency-Replayed"), second.headers["Idempotency-Replayed"]) == (None, "true")
    assert plane.calls[method] == 1
    another = post(unix, path, body, key="k2")
    assert plane.calls[method] == 2
    assert "Idempotency-Replayed" not in another.headers


def test_a_removal_is_repeated_too(unix: httpx.Client, plane: PlaneDouble) -> None:
    post(unix, "/models", {"name": "m", "path": "/m"})
    removed = [unix.delete("/models/m", headers={KEY: "k2"}) for _ in range(2)]
    assert removed[0].content == removed[1].content
    assert plane.calls["remove_model"] == 1
    assert unix.delete("/models/m", headers={KEY: "k3"}).status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/workloads", {"spec": {"name": "b", "kind": "task", "run": "true"}}),
        ("/workloads?project=", SUBMISSION),
        ("/workloads/a/desired", {"wish": "stop"}),
        ("/shutdown", {}),
    ],
)
def test_another_request_under_the_same_key_is_refused(
    unix: httpx.Client, plane: PlaneDouble, path: str, body: Any
) -> None:
    assert post(unix, "/workloads", SUBMISSION).status_code == 201
    refused = post(unix, path, body)
    assert refused.status_code == 422
    if "?" not in path:
        assert refused.json()["error"]["code"] == "key_reused"
        assert "new key" in refused.json()["error"]["hint"]
    assert plane.calls["submit"] == 1
    assert plane.shutdowns == []


@pytest.mark.parametrize("key", ["", "a b", "x" * 201, "ü".encode()])
def test_a_key_that_is_none_is_refused(unix: httpx.Client, plane: PlaneDouble, key: Any) -> None:
    refused = unix.post("/workloads", json=SUBMISSION, headers={KEY: key})
    assert (refused.status_code, refused.json()["error"]["where"]["key"]) == (400, KEY)
    assert plane.calls == {}


def test_what_failed_is_tried_anew(unix: httpx.Client, plane: PlaneDouble) -> None:
    plane.fail["submit"] = DriverUnavailable("Not now.")
    assert post(unix, "/workloads", SUBMISSION).status_code == 503
    del plane.fail["submit"]
    assert post(unix, "/workloads", SUBMISSION).status_code == 201
    assert post(unix, "/workloads", SUBMISSION).status_code == 201
    assert plane.calls["submit"] == 2


def test_a_file_that_was_refused_is_tried_anew(unix: httpx.Client, plane: PlaneDouble) -> None:
    """It is taken whole or not at all, so a refusal leaves nothing that the repeat would meet."""
    taken = plane.add("b", created_at=1.0)
    assert post(unix, "/workloads", FILE).status_code == 409
    plane.end(taken)
    accepted = post(unix, "/workloads", FILE)
    assert [view["workload"]["name"] for view in accepted.json()["workloads"]] == ["a", "b"]
    assert post(unix, "/workloads", FILE).content == accepted.content
    assert plane.calls["submit"] == 2
    refused = post(unix, "/workloads", {**FILE, "owner": "another"})
    assert refused.json()["error"]["code"] == "key_reused"


def test_many_at_once_are_one(unix: httpx.Client, plane: PlaneDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """The repeats come while the first is still at work."""
    entered, go = threading.Event(), threading.Event()
    submit = plane.submit

    def slow(*args: Any, **kwargs: Any) -> Any:
        entered.set()
        assert go.wait(120)
        return submit(*args, **kwargs)

    monkeypatch.setattr(plane, "submit", slow)
    with ThreadPoolExecutor(9) as pool:
        answers = [pool.submit(post, unix, "/workloads", SUBMISSION) for _ in range(8)]
        assert entered.wait(120)
        other = pool.submit(post, unix, "/workloads", FILE)
        assert other.result().json()["error"]["code"] == "key_reused"
        go.set()
        assert len({answer.result().content for answer in answers}) == 1
    assert plane.calls["submit"] == 1
