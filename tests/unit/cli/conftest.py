from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_client_double import ClientDouble
from click.testing import CliRunner, Result

from ampacity.cli import launch, session
from ampacity.cli.root import cli


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ClientDouble:
    """What the verbs talk to."""
    double = ClientDouble()

    def connect(asked: session.Session, *, timeout_s: float) -> ClientDouble:
        double.project = asked.project
        return double

    monkeypatch.setattr(session, "connect", connect)
    monkeypatch.setattr(launch, "answers", lambda state_dir: True)
    for name in ("AMPACITY_URL", "AMPACITY_TOKEN", "AMPACITY_PROJECT", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AMPACITY_HOME", str(tmp_path / "home"))
    return double


Amp = Callable[..., Result]


@pytest.fixture
def amp() -> Amp:
    """``amp("ps", "-a")``: the command line, in this process."""

    def run(*args: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(cli, list(args), input=stdin)

    return run


@pytest.fixture
def amp_json(amp: Amp) -> Callable[..., Any]:
    """The one JSON document that a verb answers with ``--json``."""

    def run(*args: str) -> Any:
        result = amp(*args, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return run
