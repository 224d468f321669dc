"""Watching a whole platform: top, metrics and searches over real processes; the collector comes and goes with it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import httpx

from ampacity.observe.lock import holder
from ampacity.observe.measured import MetricsFolder
from ampacity.observe.places import LOCK, metrics_folder
from whole_platform import Platform, eventually

BUSY = "import time\nprint('step 7 loss 0.5', flush=True)\nprint('step 8 loss NaN', flush=True)\nwhile True: pass"


def collector(platform: Platform) -> int | None:
    return holder(f"{metrics_folder(platform.state_dir)}/{LOCK}")


def job_in_top(platform: Platform) -> dict[str, Any]:
    return next((job for job in platform.json("top")["jobs"] if job["name"] == "busy"), {})


def test_a_running_job_is_seen_by_everything_that_watches(platform: Platform) -> None:
    platform.up("n1:cpus=4,memory=8GB")
    script = platform.file("busy.py", BUSY)
    assert platform.ampacity("run", "-d", "--name", "busy", "--", "python3", str(script)).code == 0
    eventually(lambda: (job_in_top(platform).get("cpu_percent") or 0) > 1, "CPU time of the job in top")
    shown = platform.ampacity("top")
    assert shown.code == 0, shown.err
    assert "busy" in shown.out
    assert "n1" in shown.out

    known = json.loads((platform.state_dir / "control.json").read_text())
    token = (platform.state_dir / "metrics-token").read_text().strip()
    metrics = httpx.get(f"{known['api_url']}/metrics", headers={"Authorization": f"Bearer {token}"}).text
    (line,) = [each for each in metrics.splitlines() if each.startswith("ampacity_attempt_cpu_seconds_total{")]
    for label in ('node="n1"', 'workload="busy"', 'kind="task"', 'owner="default"', 'project="default"'):
        assert label in line
    assert float(line.rpartition(" ")[2]) > 0
    assert 'ampacity_workloads{phase="running",kind="task",project="default"} 1' in metrics

    found = platform.ampacity("logs", "--search", r"loss (NaN|inf)", "-C", "1")
    assert found.out.splitlines() == ["busy: step 7 loss 0.5", "busy: step 8 loss NaN"]


def test_the_collector_is_kept_alive_and_goes_with_the_control_plane(platform: Platform) -> None:
    platform.up()
    eventually(lambda: collector(platform) is not None, "the collector")
    first = collector(platform)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    eventually(lambda: collector(platform) not in (None, first), "another collector")
    control = json.loads((Path(platform.state_dir) / "control.json").read_text())["pid"]
    os.kill(control, signal.SIGKILL)
    eventually(lambda: collector(platform) is None, "its end: nobody is left to watch for")
    platform.up()
    eventually(lambda: collector(platform) is not None, "the collector of the next control plane")
    assert platform.ampacity("down").code == 0
    assert collector(platform) is None


def test_what_an_attempt_used_is_kept_after_its_end(platform: Platform) -> None:
    platform.up()
    code = "import time; end = time.time() + 2.5\nwhile time.time() < end: pass"
    assert platform.ampacity("run", "--name", "brief", "--", "python3", "-c", code).code == 0
    (attempt,) = platform.client.workload("brief").attempts
    folder = MetricsFolder(platform.state_dir)
    eventually(lambda: bool(folder.totals([attempt.id])), "its last sample")
    (series,) = folder.totals([attempt.id])
    assert series.values["cpu_s"] > 0.2
    assert series.labels["name"] == "brief"
