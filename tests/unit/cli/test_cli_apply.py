"""apply: what is submitted in which order, what is checked before, and the exit codes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_client_double import ClientDouble, ends_with
from cli_nouns import COMPLETED, EXIT_3

from ampacity.model.attempt import Cause

Amp = Callable[..., Any]


def test_apply_submits_all_in_an_order_that_works(amp: Amp, client: ClientDouble, tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("name: last\nafter: [middle, elsewhere]\nrun: x\n---\nname: middle\nafter: [first]\nrun: x\n")
    two.write_text("name: first\nrun: x\nworkdir: code\n")
    result = amp("apply", str(one), "-f", str(two))
    assert result.stdout == "first: task created\nmiddle: task created\nlast: task created\n"
    specs = [spec for (spec,) in client.asked("submit")]
    assert [spec.name for spec in specs] == ["first", "middle", "last"]
    assert specs[0].workdir == str(tmp_path / "code")


def test_apply_checks_every_file_before_the_first_is_submitted(
    amp: Amp, client: ClientDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text("name: a\nrun: x\n")
    (tmp_path / "bad.yaml").write_text("name: b\nrunn: x\n")
    result = amp("apply", "good.yaml", "bad.yaml")
    assert result.exit_code == 2
    assert result.stderr.startswith(
        "error: bad.yaml:2: runn: is not a key that is known here.\n hint: Did you mean run?"
    )
    assert client.asked("submit") == []


def test_apply_of_a_file_that_is_not_there(amp: Amp, client: ClientDouble) -> None:
    result = amp("apply", "/nowhere/x.yaml")
    assert result.exit_code == 2
    assert result.stderr == "error: /nowhere/x.yaml: No such file or directory.\n hint: Is the path right?\n"


def test_apply_without_a_file(amp: Amp, client: ClientDouble) -> None:
    result = amp("apply")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: No file was named.\n hint: Write `ampacity apply job.yaml`, or -f - for standard input.\n"
    )


def test_apply_from_standard_input(amp: Amp, client: ClientDouble) -> None:
    result = amp("apply", "-f", "-", stdin="name: a\nrun: x\nworkdir: .\n")
    assert result.stdout == "a: task created\n"
    assert client.asked("submit")[0][0].workdir == os.getcwd()
    wrong = amp("apply", "-f", "-", stdin="name: a\n")
    assert wrong.stderr.startswith("error: <stdin>:1: run: is missing")


def test_apply_refuses_one_name_twice_and_circles(amp: Amp, client: ClientDouble, tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("name: a\nrun: x\nafter: [b]\n")
    two.write_text("name: a\nrun: x\n")
    assert f"{two}: name: 'a' is also the name of a workload in {one}." in amp("apply", str(one), str(two)).stderr
    two.write_text("name: b\nrun: x\nafter: [a]\n")
    result = amp("apply", str(one), str(two))
    assert result.exit_code == 2
    assert "these wait for each other: " in result.stderr
    assert client.asked("submit") == []


def test_apply_dry_run_asks_nobody(amp: Amp, client: ClientDouble, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("name: a\nrun: x\n")
    assert amp("apply", "--dry-run", str(file)).stdout == "a: right as it is written\n"
    assert client.calls == []


@pytest.mark.parametrize(("cause", "code"), [(COMPLETED, 0), (EXIT_3, 1)])
def test_apply_and_wait(cause: Cause, code: int, amp: Amp, client: ClientDouble, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("name: a\nrun: x\n")
    ends_with(client, cause)
    assert amp("apply", "--wait", str(file)).exit_code == code


def test_apply_json(amp_json: Amp, client: ClientDouble, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("name: a\nrun: x\n")
    [view] = amp_json("apply", str(file))["workloads"]
    assert view["workload"]["name"] == "a"
