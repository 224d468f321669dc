"""The examples of docs/api.md are run as they stand."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from plane_double import PlaneDouble

from ampacity.api.server import RunningServer
from ampacity.api.table import ENDPOINTS

DOC = Path(__file__).parents[3] / "docs" / "api.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOC.read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_every_call_by_curl(server: RunningServer, plane: PlaneDouble, tmp_path: Path) -> None:
    plane.folder = tmp_path
    for name in ("work", "private"):
        (tmp_path / name).mkdir()
    script = "set -eu\n" + "\n".join(blocks("bash"))
    done = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": os.environ["PATH"], "AMPACITY_SOCKET": server.socket_path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-500:]}\n{done.stderr}"
    decoder, rest, answers = json.JSONDecoder(), done.stdout.strip(), 0
    while rest:
        _, end = decoder.raw_decode(rest)
        rest, answers = rest[end:].strip(), answers + 1
    assert answers >= len([each for each in ENDPOINTS if each.upgrade is None])
    called = set(plane.calls)
    everything = {"status", "submit", "workloads", "workload", "set_desired", "why", "progress", "logs", "events"}
    assert called == everything | {
        "secrets", "put_secret", "remove_secret", "rotate_secret_key", "files",
        "nodes", "set_condition", "mark_node", "topology", "apply_topology", "measurements", "metrics", "search",
        "models", "model", "add_model",
        "remove_model", "shutdown", "queues", "apply_queues", "routes", "apply_routes",
    }  # fmt: skip


def test_the_python_example(
    state: Path, plane: PlaneDouble, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = blocks("python")
    monkeypatch.setenv("AMPACITY_HOME", str(state))
    monkeypatch.delenv("AMPACITY_URL", raising=False)

    def work() -> None:
        while plane.calls.get("logs", 0) == 0:
            threading.Event().wait(0.01)
        plane.say("w0000", "hello")
        plane.end("w0000")

    worker = threading.Thread(target=work)
    worker.start()
    exec(compile(code, str(DOC), "exec"), {})
    worker.join()
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["hello", "succeeded", "There is no workload 'nobody' in default. See `ampacity ps`."]
