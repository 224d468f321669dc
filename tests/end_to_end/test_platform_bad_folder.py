"""State folders in which something is not what it should be: one clear message, and nothing in them is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from whole_platform import Platform, eventually


@pytest.mark.parametrize(
    ("name", "is_folder"),
    [
        ("lock", True),
        ("settings.json", True),
        ("token", True),
        ("local", False),
        ("local/facts.jsonl", True),
        ("hub", False),
        ("metrics", False),
    ],
)
def test_what_is_no_state_folder_is_refused_by_the_name_of_what_is_wrong(
    tmp_path: Path, name: str, is_folder: bool
) -> None:
    platform = Platform(tmp_path / "state", tmp_path)
    wrong = platform.state_dir / name
    wrong.parent.mkdir(parents=True, exist_ok=True)
    if is_folder:
        wrong.mkdir()
    else:
        wrong.write_text("mine\n")
    refused = platform.ampacity("up", "--port", "0", "--gateway-port", "0", "--node", "n1:cpus=1,memory=1GB")
    assert refused.code == 2, refused.err
    assert "Traceback" not in refused.err
    first, _ = refused.err.split("\n hint: ")
    assert first.startswith(f"error: {wrong}")
    assert " cannot be used: " in first
    assert wrong.is_dir() if is_folder else wrong.read_text() == "mine\n"
    assert not (platform.state_dir / "control.json").exists()
    eventually(lambda: not platform.processes(), "the end of all that was started")
