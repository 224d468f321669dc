"""What every verb says when the control plane is of another release."""

from __future__ import annotations

import pytest

from ampacity.cli.session import Session


def test_another_minor_release_is_warned_of_once_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    session = Session()
    session.say_other_release("0.98.7")
    session.say_other_release("0.98.7")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("warning:") == 1
    assert "0.98.7" in err
    assert "pip install" in err


def test_json_is_not_disturbed(capsys: pytest.CaptureFixture[str]) -> None:
    Session(json=True).say_other_release("0.98.7")
    assert capsys.readouterr() == ("", "")
