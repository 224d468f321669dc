"""run and attach: what is asked for, what is printed where, and the exit codes."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_client_double import ClientDouble, ends_with
from cli_nouns import COMPLETED, EXIT_3, KILLED, an_attempt

from ampacity.cli import launch
from ampacity.cli.asked import name_from, shell_line, slug
from ampacity.cli.follow import Follower
from ampacity.model.attempt import AttemptPhase, Cause, CauseKind
from ampacity.model.errors import NotRunning
from ampacity.model.resources import Range
from ampacity.model.view import LogRecord, WorkloadView
from ampacity.model.workload import WorkloadKind, WorkloadPhase, WorkloadSpec

Amp = Callable[..., Any]


def asked_spec(client: ClientDouble) -> WorkloadSpec:
    [(spec,)] = client.asked("submit")
    assert isinstance(spec, WorkloadSpec)
    return spec


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (COMPLETED, 0),
        (EXIT_3, 3),
        (KILLED, 137),
        (Cause(kind=CauseKind.EXIT, exit_code=255), 255),
        (Cause(kind=CauseKind.LAUNCH_FAILED, message="no such file"), 1),
        (Cause(kind=CauseKind.EXIT, exit_code=0), 1),
    ],
)
def test_run_returns_the_jobs_exit_code(cause: Cause, code: int, amp: Amp, client: ClientDouble) -> None:
    ends_with(client, cause)
    assert amp("run", "--", "true").exit_code == code


def test_run_passes_out_and_err_on_apart(amp: Amp, client: ClientDouble) -> None:
    ends_with(client, EXIT_3, ("out", "result"), ("err", "warning"), ("sys", "setup"))
    result = amp("run", "--name", "job", "--", "x")
    assert result.stdout == "result\n"
    assert result.stderr.startswith("warning\nsetup\njob failed after ")
    assert result.stderr.endswith("exited with code 3. See `ampacity why job`.\n")


def test_a_success_adds_nothing_to_the_jobs_output(amp: Amp, client: ClientDouble) -> None:
    ends_with(client, COMPLETED, ("out", "42"))
    result = amp("run", "--", "x")
    assert (result.stdout, result.stderr, result.exit_code) == ("42\n", "", 0)


def test_every_option_becomes_a_key_of_the_spec(
    amp: Amp, client: ClientDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_with(client, COMPLETED)
    monkeypatch.setenv("PASSED_ON", "yes")
    result = amp(
        *("run", "--name", "x", "--kind", "train", "--accelerators", "H100:2", "--cpus", "2", "--memory", "4GB"),
        *("--disk", "10GB", "--nodes", "2..4", "--ranks-per-node", "2", "--env", "A=b=c", "--env", "PASSED_ON"),
        *("--workdir", str(tmp_path), "--setup", "pip list", "--retry", "2", "--checkpoint-dir", "ckpt"),
        *("--checkpoint-every", "10m", "--max-duration", "1h", "--grace", "3s", "--priority", "high"),
        *("--queue", "research", "--after", "prepare", "--", "python", "train.py", "--lr", "a b"),
    )
    assert result.exit_code == 0, result.stderr
    spec = asked_spec(client)
    assert (spec.name, spec.kind, spec.run) == ("x", WorkloadKind.TRAIN, "python train.py --lr 'a b'")
    [accelerators] = spec.resources.accelerators
    assert (accelerators.kind, accelerators.count) == ("H100", Range.exactly(2))
    assert spec.resources.cpu_milli == Range.exactly(2000)
    assert spec.resources.memory_bytes == Range.exactly(4 * 10**9)
    assert spec.resources.disk_bytes == 10 * 10**9
    assert (spec.num_nodes, spec.ranks_per_node) == (Range(minimum=2, maximum=4), 2)
    assert spec.envs == {"A": "b=c", "PASSED_ON": "yes"}
    assert (spec.workdir, spec.setup, spec.retry.maximum) == (str(tmp_path), "pip list", 2)
    assert (spec.checkpoint.directory, spec.checkpoint.every_s) == (f"{tmp_path}/ckpt", 600.0)
    assert (spec.max_duration_s, spec.grace_s, spec.priority) == (3600.0, 3.0, 100)
    assert (spec.queue, spec.after) == ("research", ("prepare",))


def test_the_defaults_of_run(amp: Amp, client: ClientDouble) -> None:
    ends_with(client, COMPLETED)
    amp("run", "--", "python", "train.py")
    spec = asked_spec(client)
    assert spec.name.startswith("train-")
    assert (spec.kind, spec.workdir, spec.retry.maximum) == (WorkloadKind.TASK, os.getcwd(), 0)


@pytest.mark.parametrize(
    ("args", "stderr"),
    [
        (
            ["--accelerators", "H100:2:2:2"],
            "error: --accelerators: 'H100:2:2:2' does not name accelerators.\n hint: Write kind and number, such as",
        ),
        (["--memory", "4"], "error: --memory: '4' has no unit.\n hint: Did you mean 4GB?\n"),
        (["--nodes", "2..4"], "error: --nodes: only a train is elastic; this is a task.\n hint: Write 2.\n"),
        (["--name", "My Job"], "error: --name: 'My Job' is not a name: small letters"),
        (["--env", "NOT_SET_ANYWHERE"], "error: --env NOT_SET_ANYWHERE: it is not set in this shell.\n hint: Write"),
        (["--env", "1A=b"], "error: --env: '1A' is not a name of a variable.\n hint: "),
        (
            ["--kind", "task", "--ranks-per-node", "2"],
            "error: --ranks-per-node: goes with --kind train only; this is a task.\n",
        ),
    ],
)
def test_what_is_wrong_is_said_by_its_option(args: list[str], stderr: str, amp: Amp, client: ClientDouble) -> None:
    result = amp("run", *args, "--", "true")
    assert result.exit_code == 2
    assert result.stderr.startswith(stderr)
    assert client.asked("submit") == []


def test_run_of_a_workload_file_points_to_apply(
    amp: Amp, client: ClientDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text("name: a\nrun: x\n")
    result = amp("run", "job.yaml")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: job.yaml is a workload file; `run` takes a command.\n hint: `ampacity apply job.yaml` submits it.\n"
    )


def test_run_detached_says_the_name(amp: Amp, client: ClientDouble) -> None:
    result = amp("run", "-d", "--name", "job", "--", "x")
    assert (result.exit_code, result.stdout) == (0, "job\n")
    assert client.asked("logs") == []


def test_run_in_json_is_a_line_for_each_thing(amp: Amp, client: ClientDouble) -> None:
    ends_with(client, EXIT_3, ("out", "one"), ("err", "two"))
    result = amp("run", "--json", "--name", "job", "--", "x")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines[0]["workload"]["workload"]["name"] == "job"
    assert [line["record"]["text"] for line in lines[1:-1]] == ["one", "two"]
    assert lines[-1] == {"end": {"phase": "failed", "exit_code": 3}}
    assert (result.exit_code, result.stderr) == (3, "")


def test_run_detached_in_json(amp: Amp, client: ClientDouble) -> None:
    result = amp("run", "--json", "-d", "--name", "job", "--", "x")
    assert json.loads(result.stdout)["workload"]["name"] == "job"


def test_run_starts_a_control_plane_where_there_is_none(
    amp: Amp, client: ClientDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr(launch, "answers", lambda state_dir: False)
    monkeypatch.setattr(launch, "start", lambda state_dir, options: started.append((state_dir, options)) or True)
    ends_with(client, COMPLETED)
    result = amp("run", "--", "true")
    home = Path(os.environ["AMPACITY_HOME"])
    assert started == [(home, launch.Options())]
    assert result.stderr == f"Started a control plane in {home}. `ampacity down` stops it.\n"


def test_run_starts_none_for_one_that_is_elsewhere(
    amp: Amp, client: ClientDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMPACITY_URL", "http://there:1")
    monkeypatch.setattr(launch, "answers", lambda state_dir: pytest.fail("asked here"))
    ends_with(client, COMPLETED)
    assert amp("run", "--", "true").exit_code == 0


def test_attach(amp: Amp, client: ClientDouble) -> None:
    view = client.add("job")
    client.say(view, "one", "two")
    client.end(view, EXIT_3)
    result = amp("attach", "job", "--tail", "1")
    assert (result.exit_code, result.stdout) == (3, "two\n")
    assert client.asked("logs") == [(view.workload.id, True, 1, None, None)]


def test_one_that_was_stopped_has_exit_code_1(amp: Amp, client: ClientDouble) -> None:
    stopped = Cause(kind=CauseKind.STOPPED, message="stopped by root")
    view = client.add("job")
    client.change(view, attempts=(an_attempt(AttemptPhase.CANCELLED, cause=stopped),), phase=WorkloadPhase.CANCELLED)
    result = amp("attach", "job")
    assert result.exit_code == 1
    assert result.stderr.startswith("job was stopped after ")


def test_an_error_in_the_output_is_said(amp: Amp, client: ClientDouble) -> None:
    client.add("job")
    client.fail["logs"] = NotRunning("The control plane has shut down.")
    result = amp("attach", "job")
    assert (result.exit_code, result.stderr) == (2, "error: The control plane has shut down.\n")


def test_while_it_waits_it_says_why(client: ClientDouble, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The output begins only after the reason was asked for twice."""
    monkeypatch.setattr("ampacity.cli.follow.LOOK_EVERY_S", 0.01)
    view = client.add("job", wait="needs 2 H100; 1 is free")
    asked = threading.Semaphore(0)
    look = client.workload

    def workload(ref: str) -> WorkloadView:
        asked.release()
        return look(ref)

    def logs(ref: str, **given: object) -> Any:
        for _ in range(3):
            assert asked.acquire(timeout=60)
        client.end(view, COMPLETED)
        yield LogRecord(at=1.0, replica=0, epoch=1, member=0, rank=-1, stream="out", text="at last")

    monkeypatch.setattr(client, "workload", workload)
    monkeypatch.setattr(client, "logs", logs)
    lines: list[str] = []
    follower = Follower(client, view, lambda record: lines.append(record.text))  # type: ignore[arg-type]
    assert follower.follow() == 0
    assert lines == ["at last"]
    assert capsys.readouterr().err == "job waits: needs 2 H100; 1 is free\n"


class Interrupted:
    """Prints nothing and is interrupted by Ctrl-C as often as told, then the job ends."""

    def __init__(self, client: ClientDouble, view: WorkloadView) -> None:
        self.client, self.view, self.times = client, view, 0

    def __call__(self, follower: Follower, feed: object) -> None:
        self.times += 1
        if self.times == 1:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("choice", "code", "stopped"), [("stop", 130, True), ("keep", 130, False)])
def test_ctrl_c_asks_on_a_terminal(
    choice: str, code: int, stopped: bool, client: ClientDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = client.add("job", "task", "running")
    interrupted = Interrupted(client, view)
    monkeypatch.setattr(Follower, "_pass_on", lambda self, feed: interrupted(self, feed))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    def prompt(*args: object, **kwargs: object) -> str:
        if choice == "stop":
            client.change(view, phase=WorkloadPhase.CANCELLED)
        return choice

    monkeypatch.setattr("click.prompt", prompt)
    monkeypatch.setattr(client, "stop", lambda ref: client.calls.append(("stop", ref)))
    follower = Follower(client, view, lambda record: None)  # type: ignore[arg-type]
    assert follower.follow() == code
    assert bool(client.asked("stop")) is stopped


def test_ctrl_c_twice_leaves_it_running(client: ClientDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    view = client.add("job", "task", "running")
    interrupted = Interrupted(client, view)
    monkeypatch.setattr(Follower, "_pass_on", lambda self, feed: interrupted(self, feed))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    def prompt(*args: object, **kwargs: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("click.prompt", prompt)
    follower = Follower(client, view, lambda record: None)  # type: ignore[arg-type]
    assert follower.follow() == 130
    assert client.asked("stop") == []


@pytest.mark.parametrize(
    ("command", "stem"),
    [
        (["python", "train.py"], "train"),
        (["python3", "-u", "src/eval_model.py", "--x"], "eval-model"),
        (["torchrun", "--nproc", "2", "./run.sh"], "run"),
        (["sh", "-c", "echo hello; exit 3"], "echo"),
        (["nvidia-smi"], "nvidia-smi"),
        (["LR=3 python prepare.py && python train.py"], "prepare"),
        (["/usr/bin/make", "all"], "make"),
        (["--", "-"], "run"),
        (["x" * 300], "x" * 40),
    ],
)
def test_names_from_commands(command: list[str], stem: str) -> None:
    name = name_from(command)
    assert name.rpartition("-")[0] == stem
    assert len(name) <= 63


def test_two_names_from_one_command_differ() -> None:
    assert len({name_from(["python", "train.py"]) for _ in range(20)}) > 15


def test_one_word_is_a_line_for_the_shell() -> None:
    assert shell_line(["a && b"]) == "a && b"
    assert shell_line(["a", "&&", "b c"]) == "a '&&' 'b c'"


@pytest.mark.parametrize(("text", "name"), [("Qwen2.5-0.5B", "qwen2-5-0-5b"), ("__", ""), ("a" * 99, "a" * 63)])
def test_slugs(text: str, name: str) -> None:
    assert slug(text) == name
