"""The state folder: whose it may be, and what it was told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ampacity.control.state_folder import StateFolder
from ampacity.model.errors import UserError


def test_another_users_folder_is_refused_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(UserError, match="belongs to another user"):
        StateFolder(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "garbage\n", "-1", "٣", "\0\xff"])
def test_a_gateways_port_that_is_not_understood_is_not_known(tmp_path: Path, text: str) -> None:
    folder = StateFolder(tmp_path / "state")
    assert folder.read_gateway_port() is None
    folder.write_gateway_port(7411)
    assert folder.read_gateway_port() == 7411
    (folder.path / "gateway" / "port").write_text(text)
    assert folder.read_gateway_port() is None
