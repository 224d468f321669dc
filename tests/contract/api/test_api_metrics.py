"""``GET /metrics`` and ``/measurements``: who may read them, and in which form they come."""

from __future__ import annotations

import httpx
import pytest
from plane_double import PlaneDouble
from plane_server import METRICS_TOKEN, TOKEN

from ampacity.api.server import RunningServer
from ampacity.client import Client
from ampacity.model.errors import InvalidSpec, NotFound


def get(server: RunningServer, path: str, *, token: str = "", **headers: str) -> httpx.Response:
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return httpx.get(server.url + path, headers=headers)


def test_prometheus_reads_it_with_the_token_for_it(server: RunningServer) -> None:
    for token in (METRICS_TOKEN, TOKEN):
        response = get(server, "/metrics", token=token)
        assert response.status_code == 200
        assert response.text == "ampacity_nodes 1\n"
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")


def test_openmetrics_is_given_to_those_who_ask_for_it(server: RunningServer) -> None:
    asked = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    response = get(server, "/metrics", token=METRICS_TOKEN, Accept=asked)
    assert response.text == "# EOF\n"
    assert response.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")


@pytest.mark.parametrize("token", ["", "wrong"])
def test_nobody_else_reads_it(server: RunningServer, plane: PlaneDouble, token: str) -> None:
    assert get(server, "/metrics", token=token).status_code == 401
    assert plane.calls.get("metrics", 0) == 0


def test_the_token_for_metrics_opens_nothing_else(server: RunningServer) -> None:
    for path in ("/api/v1/status", "/api/v1/workloads", "/api/v1/events", "/api/v1/secrets"):
        refused = get(server, path, token=METRICS_TOKEN)
        assert refused.status_code == 403, path
        assert "metrics" in refused.json()["error"]["message"]
    headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
    assert httpx.post(server.url + "/api/v1/shutdown", headers=headers).status_code == 403


def test_only_reading_is_taken(server: RunningServer) -> None:
    refused = httpx.post(server.url + "/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert refused.status_code == 405


def test_what_goes_wrong_is_an_answer(server: RunningServer, plane: PlaneDouble) -> None:
    plane.fail["metrics"] = RuntimeError("the disk is gone")
    refused = get(server, "/metrics", token=METRICS_TOKEN)
    assert refused.status_code == 500
    assert "the disk is gone" not in refused.text


def test_the_client_reads_measurements(client: Client) -> None:
    seen = client.measurements(points=3, step_s=2)
    assert seen.step_s == 2.0
    (host,) = seen.hosts
    assert host.labels == {"node": "n0"}
    assert host.history["cpu_percent"] == (None, None, 12.5)
    assert client.measurements().hosts[0].history == {}


def test_a_search_goes_to_the_plane_and_its_hits_come_back(client: Client, plane: PlaneDouble) -> None:
    plane.say(plane.add("a", created_at=1.0), "loss: NaN")
    (hit,) = client.search_logs("NaN|inf", context=2, since=5.0, limit=3, ignore_case=True)
    assert (hit.name, hit.record.text, hit.matched) == ("a", "loss: NaN", True)
    (ask,) = plane.searches
    assert (ask.pattern, ask.context, ask.since, ask.limit) == ("NaN|inf", 2, 5.0, 3)
    assert (ask.ref, ask.fixed, ask.ignore_case) == (None, False, True)


def test_a_search_in_a_workload_that_is_not_there_is_refused(client: Client) -> None:
    with pytest.raises(NotFound):
        list(client.search_logs("x", ref="nobody"))


def test_a_search_that_breaks_is_the_error_that_it_broke_with(client: Client, plane: PlaneDouble) -> None:
    plane.fail["search"] = InvalidSpec("it takes too long.")
    with pytest.raises(InvalidSpec, match="too long"):
        list(client.search_logs("x"))
