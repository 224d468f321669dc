"""The control plane as a running thing: its folder, its clock, its loop, and its end. Real processes, loopback only."""

from __future__ import annotations

import logging
import os
import socket
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ampacity.control.daemon import Daemon
from ampacity.control.state_folder import Settings, StateFolder, choose_port, is_free
from ampacity.model.attempt import AttemptPhase
from ampacity.model.errors import InvalidSpec, PortInUse, StateFolderBusy, UserError
from ampacity.model.ids import DEFAULT_OWNER, DEFAULT_PROJECT
from ampacity.model.workload import RetryPolicy, ServiceSpec, Wish, WorkloadKind, WorkloadPhase, WorkloadSpec

SETTINGS = Settings(nodes=("n1:cpus=4,memory=4GB",), gateway_port=0)


def eventually(true: Callable[[], bool], what: str, limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, f"{what}: not within {limit_s:g} s"
        time.sleep(0.02)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Starts control planes on one folder; all that they run is stopped in the end."""
    begun: list[Daemon] = []

    def start(settings: Settings = SETTINGS, **keys: Callable[..., Any]) -> Daemon:
        daemon = Daemon(StateFolder(tmp_path / "state"), settings, **keys)
        begun.append(daemon)
        daemon.start()
        return daemon

    yield start
    for daemon in begun[:-1]:
        daemon.stop()
    if begun:
        begun[-1].plane.shutdown(workloads=True)
        assert begun[-1].wait(30.0)
        begun[-1].stop()


def job(name: str, run: str) -> WorkloadSpec:
    return WorkloadSpec(name=name, kind=WorkloadKind.TASK, run=run, grace_s=1.0)


def submit(daemon: Daemon, spec: WorkloadSpec) -> str:
    return daemon.plane.submit((spec,), project=DEFAULT_PROJECT, owner=DEFAULT_OWNER)[0].workload.id


def phase(daemon: Daemon, ref: str) -> WorkloadPhase:
    return daemon.plane.workload(ref, project=DEFAULT_PROJECT).workload.phase


def test_the_clock_set_forward_and_back_loses_nothing_and_runs_nothing_twice(
    start: Callable[..., Daemon], tmp_path: Path
) -> None:
    set_by_s = 0.0
    first = start(wall_clock=lambda: time.time() + set_by_s)
    starts, go = tmp_path / "starts", tmp_path / "go"
    holds = submit(first, job("holds", f"echo holds >> {starts}; while ! test -e {go}; do sleep 0.05; done"))
    eventually(starts.exists, "the start")
    for name, jump_s in (("ahead", 86_400.0), ("back", -86_400.0), ("far-back", -10 * 86_400.0), ("right", 0.0)):
        set_by_s = jump_s
        spec = replace(job(name, f"echo {name} >> {starts}; test $AMPACITY_EPOCH = 2"), retry=RetryPolicy(maximum=1))
        ident = submit(first, spec)
        eventually(lambda ident=ident: phase(first, ident) is WorkloadPhase.SUCCEEDED, f"the end of {name}", 120.0)
        assert phase(first, holds) is WorkloadPhase.RUNNING
    set_by_s = -5 * 86_400.0
    first.stop()
    second = start(wall_clock=lambda: time.time() + set_by_s)
    go.touch()
    eventually(lambda: phase(second, holds) is WorkloadPhase.SUCCEEDED, "the end of what ran all along", 120.0)
    told = Counter(starts.read_text().split())
    assert told == {"holds": 1, "ahead": 2, "back": 2, "far-back": 2, "right": 2}
    times = [event.at for event in second.plane.events(after=0, ref=None, project=DEFAULT_PROJECT, limit=10_000)]
    assert len(times) > 20
    for earlier, later in pairwise(times):
        assert later > earlier - 600.0, "a step's events bear the time at which it began; none bears another day's"


def test_what_runs_outlives_the_control_plane_and_is_found_again(start: Callable[..., Daemon], tmp_path: Path) -> None:
    first = start()
    go = tmp_path / "go"
    ident = submit(first, job("long", f"while ! test -e {go}; do sleep 0.05; done; echo done"))
    eventually(lambda: phase(first, ident) is WorkloadPhase.RUNNING, "the start")
    first.stop()
    first.stop()
    go.touch()
    second = start()
    eventually(lambda: phase(second, ident) is WorkloadPhase.SUCCEEDED, "the end")
    view = second.plane.workload(ident, project=DEFAULT_PROJECT)
    assert len(view.attempts) == 1
    logs = second.plane.logs(ident, project=DEFAULT_PROJECT, cursor=None, rank=None, replica=None, limit=100)
    assert [record.text for record in logs.records if record.stream == "out"] == ["done"]


def test_what_runs_on_a_node_that_is_no_longer_declared_ends_before_it_is_tried_elsewhere(
    start: Callable[..., Daemon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ampacity.control.step.NODES_EVERY_S", 0.1)
    first = start()
    log, go = tmp_path / "log", tmp_path / "go"
    script = (
        f"trap 'echo end $AMPACITY_EPOCH >> {log}; exit 1' TERM; echo begin $AMPACITY_EPOCH >> {log}; "
        f"while ! test -e {go}; do sleep 0.02; done"
    )
    ident = submit(first, replace(job("moves", script), retry=RetryPolicy(maximum=1)))
    eventually(log.exists, "the start")
    first.stop()
    second = start(replace(SETTINGS, nodes=("n2:cpus=4,memory=4GB",), node_lost_after_s=0.5))
    eventually(lambda: "begin 2" in log.read_text(), "the second attempt")
    go.touch()
    eventually(lambda: phase(second, ident) is WorkloadPhase.SUCCEEDED, "the end")
    assert log.read_text().splitlines() == ["begin 1", "end 1", "begin 2"]
    lost, done = second.plane.workload(ident, project=DEFAULT_PROJECT).attempts
    assert (lost.phase, lost.nodes, done.nodes) == (AttemptPhase.LOST, ("n1",), ("n2",))


def test_a_step_that_fails_is_logged_and_the_loop_goes_on(
    start: Callable[..., Daemon], caplog: pytest.LogCaptureFixture
) -> None:
    left = [3]

    def at(point: str) -> None:
        if point == "plan.done" and left[0]:
            left[0] -= 1
            raise RuntimeError("a fault of ours")

    with caplog.at_level(logging.ERROR, logger="ampacity.control.daemon"):
        daemon = start(at=at)
        ident = submit(daemon, job("j", "true"))
        eventually(lambda: phase(daemon, ident) is WorkloadPhase.SUCCEEDED, "the end")
    assert left == [0]
    assert "a step failed" in caplog.text
    assert "RuntimeError: a fault of ours" in caplog.text


def test_an_end_with_workloads_stops_all_that_runs_first(start: Callable[..., Daemon]) -> None:
    daemon = start()
    idents = [submit(daemon, job(f"j{number}", "sleep 1000")) for number in range(3)]
    eventually(lambda: all(phase(daemon, ident) is WorkloadPhase.RUNNING for ident in idents), "the starts")
    assert not daemon.wait(0.0)
    daemon.plane.shutdown(workloads=True)
    assert daemon.wait(30.0)
    assert {phase(daemon, ident) for ident in idents} == {WorkloadPhase.CANCELLED}


def test_a_served_name_brings_up_the_gateway_and_a_route(start: Callable[..., Daemon], tmp_path: Path) -> None:
    import json
    import sys
    from urllib.request import urlopen

    daemon = start()
    script = tmp_path / "serve.py"
    script.write_text(
        "import http.server, os\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers()\n"
        "http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), H).serve_forever()\n"
    )
    spec = WorkloadSpec(
        name="svc",
        kind=WorkloadKind.SERVICE,
        run=f"exec {sys.executable} {script}",
        service=ServiceSpec(served_name="tiny"),
        grace_s=1.0,
    )
    ident = submit(daemon, spec)
    table = tmp_path / "state" / "gateway" / "table.json"

    def routed() -> bool:
        if not table.exists():
            return False
        return any(route["replicas"] for route in json.loads(table.read_text())["models"])

    eventually(routed, "the route")
    url = daemon.plane.status().gateway_url

    def lists() -> bool:
        try:
            with urlopen(f"{url}/v1/models", timeout=5) as answer:
                return [model["id"] for model in json.load(answer)["data"]] == ["tiny"]
        except OSError:
            return False

    eventually(lists, "the gateway's answer")
    daemon.plane.set_desired(ident, project=DEFAULT_PROJECT, by="anna", wish=Wish.STOP)
    eventually(lambda: not routed(), "the route's end")


# The folder -------------------------------------------------------------------------------------------------------


def test_the_folder_is_held_by_one_and_free_after_a_failed_start(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "s")
    with pytest.raises(InvalidSpec):
        Daemon(folder, Settings(nodes=("n1:bogus=1",)))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(PortInUse):
            Daemon(folder, Settings(gateway_port=other.getsockname()[1]))
    folder.hold()
    with pytest.raises(StateFolderBusy, match=str(os.getpid())):
        StateFolder(tmp_path / "s").hold()
    folder.release()
    folder.hold()
    folder.release()


def test_the_folder_keeps_settings_and_secrets_to_its_owner(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "s")
    assert folder.read_settings() == Settings()
    folder.write_settings(SETTINGS)
    assert StateFolder(tmp_path / "s").read_settings() == SETTINGS
    assert folder.token_sha256() == folder.token_sha256()
    folder.write_endpoint(pid=1)
    for name in ("token", "settings.json", "control.json"):
        assert stat.S_IMODE(folder.file(name).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.remove_endpoint()
    folder.remove_endpoint()
    assert not folder.file("control.json").exists()
    folder.file("settings.json").write_text("{")
    with pytest.raises(UserError, match=r"settings\.json"):
        folder.read_settings()


def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used"):
        StateFolder(tmp_path / "file")


def test_a_long_path_has_its_socket_elsewhere(tmp_path: Path) -> None:
    deep = StateFolder(tmp_path / ("d" * 120))
    path = deep.socket_path()
    assert len(path.encode()) <= 107
    assert path == deep.socket_path()
    assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700
    Path(path).parent.rmdir()
    short = StateFolder(Path("/tmp") / f"amp-{os.getpid()}")
    assert short.socket_path() == str(short.path / "control.sock")
    short.path.rmdir()


def test_ports() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        assert not is_free(taken)
        assert choose_port(taken) != taken
    assert is_free(taken)
