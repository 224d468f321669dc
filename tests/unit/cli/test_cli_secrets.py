"""``ampacity secrets``: what is asked of the control plane, and that no value is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_client_double import ClientDouble

Amp = Callable[..., Any]


def test_a_value_comes_from_the_line_a_file_or_a_pipe(amp: Amp, client: ClientDouble, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"\x00binary\n")
    for args, stdin, value in (
        (("A", "from-line"), None, b"from-line"),
        (("B", "--from-file", str(path)), None, b"\x00binary\n"),
        (("C",), "piped\n", b"piped"),
        (("D",), "two\nlines\n\n", b"two\nlines\n"),
    ):
        result = amp("secrets", "set", *args, stdin=stdin)
        assert result.exit_code == 0, result.stderr
        assert result.stdout == f"{args[0]}: set for the project default\n"
        assert client.secret_values[args[0]] == value
    result = amp("secrets", "set", "A", "x", "--from-file", str(path))
    assert result.exit_code == 2


def test_names_are_listed_and_removed(amp: Amp, amp_json: Callable[..., Any], client: ClientDouble) -> None:
    assert "No secrets" in amp("secrets").stderr
    client.set_secret("HF_TOKEN", b"hf_value")
    for args in ((), ("ls",)):
        shown = amp("secrets", *args).stdout
        assert "HF_TOKEN" in shown
        assert "hf_value" not in shown
    assert [each["name"] for each in amp_json("secrets", "ls")["secrets"]] == ["HF_TOKEN"]
    assert amp("secrets", "rotate-key").stdout == "1 secret is sealed with a new key.\n"
    assert amp("secrets", "rm", "HF_TOKEN").stdout == "HF_TOKEN: removed\n"
    assert amp("secrets", "rm", "HF_TOKEN").exit_code == 2


def test_on_a_terminal_it_is_asked_for_and_not_shown(
    amp: Amp, client: ClientDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def prompt(text: str, **how: Any) -> str:
        asked.append(how)
        return "typed"

    monkeypatch.setattr("ampacity.cli.commands.secrets._terminal", lambda: True)
    monkeypatch.setattr("click.prompt", prompt)
    assert amp("secrets", "set", "A").exit_code == 0
    assert client.secret_values["A"] == b"typed"
    assert asked == [{"hide_input": True, "err": True}]
