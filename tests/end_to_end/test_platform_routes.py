"""Routes on the whole platform: from a file to the gateway, through a crash, and into the books."""

from __future__ import annotations

import os
import signal

import httpx
from test_platform_keys import SERVER

from whole_platform import Platform, eventually

SERVICES = """name: one
type: service
served_name: model-one
run: exec python3 {script}
---
name: two
type: service
served_name: model-two
run: exec python3 {script}
"""

ROUTES = """routes:
  chat: {to: model-one, fallback: [{on: error, to: model-two}], shadow: {model: model-two, percent: 100}}
  gpt-4o-mini: chat
"""


def test_a_route_is_applied_holds_through_a_crash_and_falls_back_when_its_service_stops(platform: Platform) -> None:
    platform.up("n1:cpus=4,memory=2GB")
    platform.file("s.yaml", SERVICES.format(script=platform.file("server.py", SERVER)))
    platform.file("r.yaml", ROUTES)
    url = platform.client.status().gateway_url

    def answers() -> tuple[int, str, str]:
        try:
            found = httpx.post(f"{url}/v1/completions", json={"model": "gpt-4o-mini", "prompt": "x"}, timeout=30)
        except httpx.HTTPError:
            return 0, "", ""
        told = found.headers
        return found.status_code, told.get("x-ampacity-model", ""), told.get("x-ampacity-fallback", "")

    assert "would change: chat comes" in platform.ampacity("apply", "--dry-run", "r.yaml").out
    assert platform.ampacity("apply", "s.yaml", "r.yaml").code == 0
    eventually(lambda: answers() == (200, "model-one", ""), "an answer of the route")
    assert "gpt-4o-mini  = chat" in platform.ampacity("routes").out

    os.kill(platform.client.status().pid, signal.SIGKILL)
    assert answers() == (200, "model-one", ""), "the gateway goes on without its control plane"
    platform.up()
    assert [route.name for route in platform.client.routes().routes] == ["chat", "gpt-4o-mini"]

    assert platform.ampacity("stop", "one").code == 0
    eventually(lambda: answers() == (200, "model-two", "error"), "an answer of the fallback")

    def shadows() -> int:
        sums = platform.json("usage", "--by", "model", "--all-projects")["sums"]
        return sum(each["requests"] for each in sums if (each["project"], each["model"]) == ("system", "model-two"))

    eventually(lambda: shadows() >= 2, "shadows in the books, under the system's name")
