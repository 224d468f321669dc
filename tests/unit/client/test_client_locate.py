"""Finding the control plane: what counts as running, and what is said when none is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ampacity.client.locate import Endpoint, from_environment, locate, state_folder
from ampacity.model.errors import NotRunning


def write(folder: Path, **changes: Any) -> None:
    fields = {
        "pid": os.getpid(),
        "started_at": 1.0,
        "version": "0.1.0",
        "socket": str(folder / "api.sock"),
        "api_url": "http://127.0.0.1:7077",
        "gateway_url": "http://127.0.0.1:8000",
    }
    (folder / "control.json").write_text(json.dumps(fields | changes))


def gone_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_unix_socket_is_preferred(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "api.sock").touch()
    found = locate(tmp_path)
    assert found.socket == str(tmp_path / "api.sock")
    assert (found.token, found.pid, found.version) == ("", os.getpid(), "0.1.0")
    assert str(found) == found.socket


def test_without_the_socket_it_is_the_address_and_the_token(tmp_path: Path) -> None:
    write(tmp_path)
    assert locate(tmp_path).token == ""
    (tmp_path / "token").write_text("secret\n")
    found = locate(str(tmp_path))
    assert (found.url, found.socket, found.token) == ("http://127.0.0.1:7077", "", "secret")


def test_a_field_of_a_newer_release_does_no_harm(tmp_path: Path) -> None:
    write(tmp_path, leader=True)
    assert locate(tmp_path).gateway_url == "http://127.0.0.1:8000"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', "{}"])
def test_a_damaged_file_is_not_a_running_control_plane(tmp_path: Path, text: str) -> None:
    (tmp_path / "control.json").write_text(text)
    with pytest.raises(NotRunning, match=r"control.json cannot be read"):
        locate(tmp_path)


def test_none_was_started(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(NotRunning, match="No control plane runs in") as refused:
            locate(folder)
        assert refused.value.hint == "Start one with `ampacity up`."


def test_one_that_died_left_its_file_behind(tmp_path: Path) -> None:
    (tmp_path / "api.sock").touch()
    for pid in (gone_pid(), 2**31 - 1, 2**62, -1, 0):
        write(tmp_path, pid=pid)
        with pytest.raises(NotRunning, match="is gone"):
            locate(tmp_path)


def test_one_that_does_not_listen(tmp_path: Path) -> None:
    write(tmp_path, socket="", api_url="")
    with pytest.raises(NotRunning, match="does not listen"):
        locate(tmp_path)


def test_the_environment_names_an_address_or_a_folder(tmp_path: Path) -> None:
    named = from_environment({"AMPACITY_URL": "http://127.0.0.1:1/", "AMPACITY_TOKEN": "t"})
    assert named == Endpoint(url="http://127.0.0.1:1", token="t")
    write(tmp_path)
    assert from_environment({"AMPACITY_HOME": str(tmp_path)}).pid == os.getpid()
    assert state_folder({"AMPACITY_HOME": "~/x"}) == Path.home() / "x"
    assert state_folder({}) == Path.home() / ".ampacity"


def test_importing_the_client_loads_no_http_library() -> None:
    heavy = "{'httpx', 'starlette', 'uvicorn', 'anyio', 'asyncio', 'sqlalchemy', 'pydantic'}"
    code = f"import sys, ampacity; ampacity.Client; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
