"""The root command: its help, its table of verbs, and errors in the one form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from cli_client_double import ClientDouble

from ampacity import __version__
from ampacity.cli.root import SECTIONS, _load, cli
from ampacity.model.errors import DriverUnavailable, InvalidSpec, NotRunning, Where

VERBS = [verb for verbs in SECTIONS.values() for verb in verbs if verb.name != "demo"]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_every_verb_of_the_table_is_there_and_takes_the_global_options(verb: Any, amp: Callable[..., Any]) -> None:
    command = _load(verb)
    assert isinstance(command, click.Command)
    assert command.name in (verb.name, "command", "group")
    result = amp(verb.name, "--help")
    assert result.exit_code == 0
    assert f"Usage: ampacity {verb.name} [OPTIONS]" in result.output
    for option in ("--state", "--project", "--json"):
        assert option in result.output


def test_help_lists_every_verb_under_its_section(amp: Callable[..., Any]) -> None:
    output = amp("--help").output
    for title, verbs in SECTIONS.items():
        assert f"{title}:" in output
        for verb in verbs:
            assert verb.help in output


def test_version(amp: Callable[..., Any]) -> None:
    assert amp("--version").output == f"ampacity {__version__}\n"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["sttus"], "error: There is no verb 'sttus'.\n hint: Did you mean `ampacity status`?\n"),
        (["zzz"], "error: There is no verb 'zzz'.\n hint: `ampacity --help` lists the verbs.\n"),
        (["ps", "--al"], "error: No such option '--al'.\n hint: Did you mean one of: '--all', "),
        (["why"], "error: Missing argument 'NAME'.\n hint: `ampacity why --help` shows how it is used.\n"),
        (["scale", "x", "-1"], "error: No such option '-1'.\n"),
        (["ps", "--kind", "pod"], "error: Invalid value for '--kind': 'pod' is not one of "),
    ],
)
def test_usage_errors_say_what_and_what_to_do(
    args: list[str], expected: str, amp: Callable[..., Any], client: ClientDouble
) -> None:
    result = amp(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(expected)


def test_usage_errors_in_json(amp: Callable[..., Any]) -> None:
    result = amp("why", "--json")
    assert result.exit_code == 2
    error = json.loads(result.stderr)["error"]
    assert error["code"] == "usage"
    assert error["message"] == "Missing argument 'NAME'."


def test_a_users_error_has_exit_code_2_and_no_traceback(amp: Callable[..., Any], client: ClientDouble) -> None:
    result = amp("why", "nobody")
    assert result.exit_code == 2
    assert result.stderr == ("error: There is no workload 'nobody' in default.\n hint: `ampacity ps -a` lists them.\n")


def test_another_error_has_exit_code_1(amp: Callable[..., Any], client: ClientDouble) -> None:
    client.fail["nodes"] = DriverUnavailable("The local driver does not answer.")
    result = amp("nodes")
    assert (result.exit_code, result.stderr) == (1, "error: The local driver does not answer.\n")


def test_not_running_says_how_to_start(amp: Callable[..., Any], client: ClientDouble) -> None:
    client.fail["workloads"] = NotRunning("No control plane runs in /x.", hint="Start one with `ampacity up`.")
    result = amp("ps")
    assert result.exit_code == 2
    assert result.stderr == "error: No control plane runs in /x.\n hint: Start one with `ampacity up`.\n"


def test_errors_in_json_have_code_and_place(amp: Callable[..., Any], client: ClientDouble) -> None:
    client.fail["why"] = InvalidSpec("is wrong", where=Where(file="a.yaml", line=3, key="run"), hint="Mend it.")
    result = amp("--json", "why", "x")
    assert result.exit_code == 2
    assert json.loads(result.stderr) == {
        "error": {
            "code": "invalid_spec",
            "message": "is wrong",
            "hint": "Mend it.",
            "where": {"file": "a.yaml", "line": 3, "key": "run"},
        }
    }


def test_a_mistake_of_ours_is_not_hidden(amp: Callable[..., Any], client: ClientDouble) -> None:
    client.fail["nodes"] = ZeroDivisionError("a bug")
    assert isinstance(amp("nodes").exception, ZeroDivisionError)


def test_json_after_the_double_dash_belongs_to_the_command(amp: Callable[..., Any], client: ClientDouble) -> None:
    result = amp("run", "--nodes", "x", "--", "tool", "--json")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --nodes: ")


@pytest.mark.parametrize("before", [True, False])
def test_global_options_stand_before_and_after_the_verb(
    before: bool, amp: Callable[..., Any], client: ClientDouble
) -> None:
    client.add("a", project="team")
    args = ["--project", "team", "ps"] if before else ["ps", "--project", "team"]
    assert "a " in amp(*args).stdout
    assert client.asked("workloads") == [(False, "team", (), ())]


def test_the_project_of_the_environment(
    amp: Callable[..., Any], client: ClientDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMPACITY_PROJECT", "team")
    amp("ps")
    assert client.asked("workloads")[0][1] == "team"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, amp: Callable[..., Any]) -> None:
    result = amp("completion", shell)
    assert result.exit_code == 0
    assert "_AMPACITY_COMPLETE" in result.stdout
    assert len(result.stdout.splitlines()) > 5


def completions(*words: str, incomplete: str) -> list[str]:
    from click.shell_completion import ShellComplete

    found = ShellComplete(cli, {}, "ampacity", "_AMPACITY_COMPLETE").get_completions(list(words), incomplete)
    return [item.value for item in found]


def test_verbs_are_completed_without_loading_them() -> None:
    assert completions(incomplete="st") == ["status", "stop"]


def test_names_are_completed_through_the_client(client: ClientDouble) -> None:
    client.add("train-1")
    client.add("train-2")
    client.add("chat")
    assert completions("logs", incomplete="tr") == ["train-1", "train-2"]


def test_without_a_control_plane_nothing_is_offered(client: ClientDouble) -> None:
    client.fail["workloads"] = NotRunning("nobody")
    assert completions("logs", incomplete="tr") == []


def test_the_page_of_the_command_line_has_every_verb() -> None:
    page = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
    sections = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    verbs = [verb.name for verbs in SECTIONS.values() for verb in verbs]
    assert sections[1:] == verbs
    for verb in verbs:
        assert f"[`{verb}`](#{verb})" in page
