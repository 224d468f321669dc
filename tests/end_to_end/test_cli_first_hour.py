"""A user's first hour: real processes, the real command line, a state folder of its own, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

DEADLINE_S = 60.0
NODE = "n1:cpus=4,memory=8GB,H100=2"


def until(ready: Callable[[], Any], what: str) -> Any:
    """What ``ready`` gives once it is true."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := ready()):
        assert time.monotonic() < deadline, f"{what} did not come about"
        time.sleep(0.02)
    return found


class Shell:
    """A shell in which ``ampacity`` works in a state folder of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        kept = {key: value for key, value in os.environ.items() if not key.startswith("AMPACITY_")}
        self.env = {**kept, "AMPACITY_HOME": str(home / "state")}

    def start(self, *args: str, **settings: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "ampacity.cli", *args]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
        return subprocess.Popen(command, env=self.env, cwd=self.home, text=True, **pipes)

    def __call__(self, *args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ampacity.cli", *args]
        return subprocess.run(
            command, env=self.env, cwd=self.home, text=True, capture_output=True, input=stdin, timeout=DEADLINE_S
        )

    def well(self, *args: str, stdin: str | None = None) -> str:
        done = self(*args, stdin=stdin)
        assert done.returncode == 0, (args, done.stdout, done.stderr)
        return done.stdout

    def json(self, *args: str) -> Any:
        return json.loads(self.well(*args, "--json"))

    def phase(self, name: str) -> str:
        views = self.json("ps", "--all")["workloads"]
        return next(view["workload"]["phase"] for view in views if view["workload"]["name"] == name)

    def end_warm_parent(self) -> None:
        """It lingers for a while by design, in case a control plane comes back; a test need not wait for that."""
        lock = self.home / "state" / "local" / "parent.lock"
        if lock.exists() and lock.read_text().strip():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(lock.read_text()), signal.SIGTERM)

    def left_over(self) -> list[str]:
        """Command lines of the processes that belong to this state folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                words = [*process.cmdline(), *process.environ().values()]
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            if process.pid != os.getpid() and any(str(self.home) in word for word in words):
                found.append(" ".join(process.cmdline()))
        return found


@pytest.fixture
def shell() -> Iterator[Shell]:
    home = Path(tempfile.mkdtemp(prefix="amp-"))
    made = Shell(home)
    try:
        yield made
        made("down", "--stop-workloads", "--yes")
        made.end_warm_parent()
        until(lambda: not made.left_over(), "the end of all processes")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_the_first_hour(shell: Shell) -> None:
    up = shell.well("up", "--node", NODE, "--port", "0", "--gateway-port", "0")
    assert "1 ready" in up
    assert "0/2 H100" in up
    again = shell("up")
    assert again.returncode == 0
    assert again.stderr.startswith("A control plane runs in ")

    failed = shell("run", "--name", "three", "--", "sh", "-c", "echo to out; echo to err >&2; exit 3")
    assert failed.returncode == 3
    assert failed.stdout == "to out\n"
    assert failed.stderr.startswith("to err\nthree failed after ")

    killed = shell("run", "--name", "shot", "--", "kill -TERM $$")
    assert killed.returncode == 128 + signal.SIGTERM

    why = shell.well("why", "three")
    assert "code 3" in why
    assert "to err" in why
    assert shell.well("logs", "three", "--json").count("\n") >= 2

    (shell.home / "jobs.yaml").write_text(
        "name: second\nafter: [first]\nrun: echo after\n---\nname: first\nrun: echo before\n"
    )
    assert shell.well("apply", "jobs.yaml", "--wait") == "first: task created\nsecond: task created\n"
    assert shell.well("logs", "second") == "after\n"

    shell.well("run", "--detach", "--name", "holder", "-a", "H100:2", "--", "sleep", "600")
    shell.well("run", "--detach", "--name", "waiter", "-a", "H100:1", "--", "echo", "at last")
    until(lambda: shell.phase("holder") == "running", "the holder's start")
    told = shell.json("why", "waiter")
    assert told["kind"] == "waiting"
    assert "H100" in told["headline"] + " ".join(told["lines"])
    listed = shell.well("ps")
    assert "holder" in listed
    assert shell.well("stop", "holder", "--wait") == "holder: ended\n"
    attached = shell("attach", "waiter")
    assert (attached.returncode, attached.stdout) == (0, "at last\n")
    kinds = [json.loads(line)["kind"] for line in shell.well("events", "waiter", "--json").splitlines()]
    assert kinds[0] == "workload.submitted"
    assert kinds[-1] == "workload.ended"

    assert shell.well("down", "--json")
    gone = shell("ps")
    assert gone.returncode == 2
    assert gone.stderr.endswith(" hint: Start one with `ampacity up`.\n")
    assert shell.well("down").startswith("No control plane runs in ")


def test_run_starts_a_control_plane_and_streams(shell: Shell) -> None:
    """Each line comes when it is printed: the job goes on only after its first line was seen here."""
    gate = shell.home / "go"
    process = shell.start("run", "--", f"echo one; until [ -e {gate} ]; do sleep 0.05; done; echo two; exit 7")
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        assert process.stdout.readline() == "one\n"
        gate.touch()
        assert process.stdout.readline() == "two\n"
        assert process.wait(DEADLINE_S) == 7
        assert process.stderr.readline().startswith("Started a control plane in ")
    finally:
        process.kill()
        process.communicate()


def test_what_runs_outlives_the_control_plane(shell: Shell) -> None:
    gate = shell.home / "go"
    shell.well("up", "--node", NODE, "--port", "0", "--gateway-port", "0")
    shell.well("run", "--detach", "--name", "long", "--", f"until [ -e {gate} ]; do sleep 0.05; done; exit 5")
    until(lambda: shell.phase("long") == "running", "the job's start")
    down = shell.json("down")
    assert down["was_running"]
    assert "long" in down["still_running"]
    gate.touch()
    assert shell.json("up")["started"]
    attached = shell("attach", "long")
    assert attached.returncode == 5


def test_interrupting_run_leaves_the_job_running(shell: Shell) -> None:
    shell.well("up", "--node", NODE, "--port", "0", "--gateway-port", "0")
    process = shell.start("run", "--name", "long", "--", "echo begun; sleep 600")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
    assert process.returncode == 130
    assert said == "long runs on. `ampacity attach long` follows it again, `ampacity stop long` stops it.\n"
    assert shell.phase("long") == "running"


def test_ctrl_c_on_a_terminal_asks_and_stops(shell: Shell) -> None:
    shell.well("up", "--node", NODE, "--port", "0", "--gateway-port", "0")
    ours, theirs = pty.openpty()
    ends = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = shell.start("run", "--name", "long", "--", "echo begun; sleep 600", start_new_session=True, **ends)
    os.close(theirs)
    try:
        read_until(ours, "begun")
        process.send_signal(signal.SIGINT)
        read_until(ours, "Stop long, or keep it running?")
        os.write(ours, b"stop\n")
        assert "long was stopped after" in read_until(ours, "was stopped after")
        assert process.wait(DEADLINE_S) == 130
    finally:
        process.kill()
        os.close(ours)
    assert shell.phase("long") == "cancelled"


def read_until(fd: int, words: str) -> str:
    """What the terminal shows until the words stand there."""
    seen = ""
    deadline = time.monotonic() + DEADLINE_S
    while words not in seen:
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{words!r} did not come; there is {seen!r}"
        seen += os.read(fd, 4096).decode()
    return seen


def test_modules_of_the_users_folder_are_not_taken_for_ours(shell: Shell) -> None:
    (shell.home / "queue.py").write_text("raise SystemExit('the wrong queue')")
    (shell.home / "ampacity").mkdir()
    (shell.home / "ampacity" / "__init__.py").write_text("raise SystemExit('the wrong ampacity')")
    script = Path(sys.executable).with_name("ampacity")
    if not script.exists():
        pytest.skip(f"{script}, the console script, is not installed")
    command = [str(script), "run", "--", "echo", "right"]
    done = subprocess.run(command, env=shell.env, cwd=shell.home, text=True, capture_output=True, timeout=DEADLINE_S)
    for name in ("queue.py", "ampacity/__init__.py"):
        (shell.home / name).unlink()
    (shell.home / "ampacity").rmdir()
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr


def test_a_taken_port_is_said_at_once(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = shell("up", "--port", str(port))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert str(port) in done.stderr
    assert "hint: " in done.stderr


def test_two_at_once_start_one(shell: Shell) -> None:
    both = [shell.start("up", "--json", "--port", "0", "--gateway-port", "0") for _ in range(2)]
    answers = []
    for process in both:
        stdout, stderr = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, stderr
        answers.append(json.loads(stdout))
    assert sorted(answer["started"] for answer in answers) == [False, True]
    assert len({answer["status"]["pid"] for answer in answers}) == 1
