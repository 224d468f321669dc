"""up, down and the start of the daemon: what is said, and what comes of a start that fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_client_double import ClientDouble
from cli_nouns import a_node

import ampacity.client
from ampacity.cli import ending, launch
from ampacity.client import Endpoint
from ampacity.model.errors import AmpacityError, NotRunning, PortInUse, StateFolderBusy

Amp = Callable[..., Any]


@pytest.fixture
def here(client: ClientDouble, monkeypatch: pytest.MonkeyPatch) -> ClientDouble:
    """The control plane of this machine, for the verbs that look for it themselves."""
    client.node_views = {"n1": a_node("n1")}
    monkeypatch.setattr(ampacity.client, "Client", lambda state_dir, **settings: client)
    return client


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[launch.Options]:
    """No control plane is there; what is started is kept here."""
    seen: list[launch.Options] = []

    def start(state_dir: Path, options: launch.Options) -> bool:
        seen.append(options)
        return True

    monkeypatch.setattr(launch, "answers", lambda state_dir: False)
    monkeypatch.setattr(launch, "start", start)
    return seen


def test_up_starts_and_says_where(amp: Amp, amp_json: Amp, here: ClientDouble, starts: list[launch.Options]) -> None:
    result = amp("up", "--node", "n1:cpus=8,memory=32GB,H100=8", "--port", "0", "--gateway-port", "8080")
    assert result.exit_code == 0
    assert "http://127.0.0.1:7077" in result.stdout
    assert starts == [launch.Options(nodes=("n1:cpus=8,memory=32GB,H100=8",), port=0, gateway_port=8080)]
    assert starts[0].arguments() == [
        *("--node", "n1:cpus=8,memory=32GB,H100=8", "--port", "0", "--gateway-port", "8080"),
    ]
    answer = amp_json("up")
    assert answer["started"] is True
    assert answer["status"]["pid"] == 4711


def test_up_where_one_runs_says_so(amp: Amp, amp_json: Amp, here: ClientDouble) -> None:
    result = amp("up", "--port", "1234")
    assert result.exit_code == 0
    home = os.environ["AMPACITY_HOME"]
    assert result.stderr == (
        f"A control plane runs in {home} already (process 4711).\n"
        "It keeps its settings: `ampacity down`, then `ampacity up` with the new ones.\n"
    )
    assert amp_json("up")["started"] is False


def test_up_checks_nodes_first(amp: Amp, here: ClientDouble, starts: list[launch.Options]) -> None:
    result = amp("up", "--node", "n1:cpus=8")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: memory: memory is missing in the node 'n1:cpus=8'\n hint: Write it like ")
    assert starts == []


def test_up_says_the_daemons_own_error(amp: Amp, here: ClientDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(state_dir: Path, options: launch.Options) -> bool:
        raise PortInUse("The port 7410 on 127.0.0.1 is in use.", hint="Choose another port.")

    monkeypatch.setattr(launch, "answers", lambda state_dir: False)
    monkeypatch.setattr(launch, "start", start)
    result = amp("up", "--port", "7410")
    assert result.exit_code == 2
    assert result.stderr == "error: The port 7410 on 127.0.0.1 is in use.\n hint: Choose another port.\n"


def test_down_where_none_runs(amp: Amp, amp_json: Amp, here: ClientDouble) -> None:
    result = amp("down")
    assert (result.exit_code, result.stdout) == (0, f"No control plane runs in {os.environ['AMPACITY_HOME']}.\n")
    assert amp_json("down") == {"was_running": False, "still_running": []}


@pytest.fixture
def runs(here: ClientDouble, monkeypatch: pytest.MonkeyPatch) -> ClientDouble:
    monkeypatch.setattr(ampacity.client, "locate", lambda state_dir: Endpoint(url="http://x", pid=4711))
    monkeypatch.setattr(ending, "wait_until_gone", lambda state_dir, pid, *, timeout_s: None)
    return here


def test_down_says_what_runs_on(amp: Amp, amp_json: Amp, runs: ClientDouble) -> None:
    runs.add("a", "task", "running")
    runs.add("b", "task", "waiting")
    result = amp("down")
    assert result.stdout.endswith("is down.\nStill running: a. `ampacity up` finds it again.\n")
    assert runs.asked("shutdown") == [(False,)]
    runs.add("gateway", "service", "running", project="system")
    assert amp_json("down") == {"was_running": True, "still_running": ["a", "gateway"]}


def test_down_with_all_that_runs(amp: Amp, amp_json: Amp, runs: ClientDouble) -> None:
    runs.add("a", "task", "running")
    assert amp("down", "--stop-workloads").stdout.endswith("is down.\n")
    assert runs.asked("shutdown") == [(True,)]
    assert amp_json("down", "--stop-workloads")["still_running"] == []


def test_down_asks_before_it_stops_what_runs(amp: Amp, runs: ClientDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    from ampacity.cli.commands import down

    monkeypatch.setattr(down, "_on_terminal", lambda: True)
    runs.add("a", "task", "running")
    refused = amp("down", "--stop-workloads", stdin="n\n")
    assert refused.exit_code == 130
    assert "Stop a? [y/N]" in refused.stderr
    assert runs.asked("shutdown") == []
    assert amp("down", "--stop-workloads", stdin="y\n").exit_code == 0
    assert amp("down", "--stop-workloads", "--yes").exit_code == 0


def test_waiting_for_a_process_to_be_gone(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with pytest.raises(AmpacityError, match=f"process {process.pid}"):
        ending.wait_until_gone(tmp_path, process.pid, timeout_s=0.0)
    process.communicate(b"\n")
    ending.wait_until_gone(tmp_path, process.pid, timeout_s=10.0)


# The launch, with a process that stands for the daemon ---------------------------------------------------------------

SAYS = "import os, sys; print('in the log'); sys.stdout.flush(); os.write(int(sys.argv[-1]), {word!r}.encode())"


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The code that runs instead of the daemon; its last argument is the file descriptor to speak to."""

    def stand_in(code: str) -> None:
        real = subprocess.Popen

        def spawn(command: list[str], **settings: Any) -> subprocess.Popen[bytes]:
            fd = command[command.index("--ready-fd") + 1]
            return real([sys.executable, "-c", code, fd], **settings)

        monkeypatch.setattr(launch.subprocess, "Popen", spawn)

    return stand_in


def test_a_start_that_says_it_answers(daemon: Callable[[str], None], tmp_path: Path) -> None:
    daemon(SAYS.format(word="{}\n"))
    state = tmp_path / "new" / "state"
    assert launch.start(state, launch.Options()) is True
    assert state.stat().st_mode & 0o777 == 0o700
    assert (state / "control.log").stat().st_mode & 0o777 == 0o600


def test_a_large_log_is_put_aside(
    daemon: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "LOG_KEPT_BYTES", 5)
    (tmp_path / "control.log").write_text("long ago")
    daemon(SAYS.format(word="{}\n"))
    launch.start(tmp_path, launch.Options())
    assert (tmp_path / "control.log.old").read_text() == "long ago"
    assert "long ago" not in (tmp_path / "control.log").read_text()


def test_a_start_that_says_its_error(daemon: Callable[[str], None], tmp_path: Path) -> None:
    daemon(SAYS.format(word='{"error": {"code": "port_in_use", "message": "It is taken.", "hint": "Another."}}\n'))
    with pytest.raises(PortInUse) as raised:
        launch.start(tmp_path, launch.Options())
    assert (raised.value.message, raised.value.hint) == ("It is taken.", "Another.")


def test_a_start_that_dies_shows_the_end_of_its_log(daemon: Callable[[str], None], tmp_path: Path) -> None:
    daemon("raise SystemExit('out of luck')")
    with pytest.raises(AmpacityError) as raised:
        launch.start(tmp_path, launch.Options())
    assert raised.value.message == "The control plane ended while it started (exit code 1).\nout of luck"
    assert raised.value.hint == f"Its whole log is {tmp_path}/control.log."


def test_a_start_that_says_nothing_is_ended(
    daemon: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "START_TIMEOUT_S", 0.0)
    daemon("import signal; signal.pause()")
    with pytest.raises(AmpacityError, match=r"did not come up within 0 s\."):
        launch.start(tmp_path, launch.Options())


BUSY = '{"error": {"code": "state_folder_busy", "message": "Held by 12.", "hint": ""}}\n'


def test_one_that_was_slower_finds_the_other(
    daemon: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([False, True])
    monkeypatch.setattr(launch, "answers", lambda state_dir: next(looks))
    daemon(SAYS.format(word=BUSY))
    assert launch.start(tmp_path, launch.Options()) is False


def test_a_folder_that_is_held_by_one_that_does_not_answer(
    daemon: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "answers", lambda state_dir: False)
    monkeypatch.setattr(launch, "ANOTHER_ANSWERS_WITHIN_S", 0.0)
    daemon(SAYS.format(word=BUSY))
    with pytest.raises(StateFolderBusy):
        launch.start(tmp_path, launch.Options())


def test_whether_one_answers(tmp_path: Path) -> None:
    assert launch.answers(tmp_path) is False
    with pytest.raises(NotRunning):
        ampacity.client.locate(tmp_path)
