"""How a life ends: what runs comes to its end, all is taken down, and held against what was predicted."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable

from soak_audit import audit, counted
from soak_scene import Scene

from ampacity.model.errors import AmpacityError
from ampacity.store import open_store

GONE_S = 30.0


def settle(scene: Scene, settle_s: float) -> None:
    """Nothing is killed any more: what ends by itself must end, services must be whole, and then all is stopped; all
    within ``settle_s``."""
    scene.settle_kills()
    for _ in range(2):  # a control plane that was killed in its last moment may still have answered
        scene.ensure_up()
    for node in scene.platform.client.nodes():
        scene.platform.client.set_condition(node.node.id, "ready")
    look(scene)
    for name in sorted(scene.live):
        if scene.entries[name].job.end is None and not scene.entries[name].job.serves:
            scene.stop(name)
    until = time.monotonic() + settle_s
    expect(scene, lambda: all(scene.entries[name].job.serves for name in scene.live), until, "jobs that do not end")
    for name in sorted(scene.live):
        expect(scene, lambda name=name: whole(scene, name), until, f"service {name} is not whole")
    for name in sorted(scene.live):
        scene.stop(name)
    expect(scene, lambda: not scene.live, until, "services that do not end")


def look(scene: Scene) -> None:
    try:
        scene.trouble.extend(scene.look())
    except AmpacityError:
        scene.done["looks while the control plane was away"] += 1


def expect(scene: Scene, true: Callable[[], bool], until: float, what: str) -> None:
    """Wait for it; a trouble when it does not come."""
    while not true():
        if time.monotonic() >= until:
            scene.trouble.append(f"{what} in time after the last kill: {sorted(scene.live)}")
            return
        time.sleep(0.2)
        look(scene)


def whole(scene: Scene, name: str) -> bool:
    """It has as many ready replicas as were wished for, and answers through the gateway."""
    view = scene.platform.client.workload(name)
    ready = {attempt.replica for attempt in view.attempts if attempt.ready and not attempt.phase.ended}
    wished = scene.entries[name].replicas
    if ready != set(range(view.desired.replicas if wished is None else wished)):
        return False
    return not ready or asked(scene.platform.client.status().gateway_url, name)


def asked(url: str, model: str) -> bool:
    body = b'{"model": "%s", "prompt": "x"}' % model.encode()
    request = urllib.request.Request(f"{url}/v1/completions", data=body, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def finish(scene: Scene) -> None:
    """Take everything down, and hold it against what was predicted."""
    scene.settle_kills()
    for name in scene.live:
        scene.entries[name].stopped = True
    take_down(scene)
    scene.trouble.extend(audit(scene))


def take_down(scene: Scene) -> None:
    """The control plane and all that it started; waits until they are gone."""
    said = scene.platform.ampacity("down", "--stop-workloads")
    if said.code:
        scene.trouble.append(f"down: {said.err}")
    until = time.monotonic() + GONE_S
    while scene.platform.processes() and time.monotonic() < until:
        time.sleep(0.1)


def census(scene: Scene) -> list[str]:
    """How many of each shape came to which end, and how much was written."""
    store = open_store(str(scene.platform.state_dir / "store.db"))
    rows = store.rows()
    store.close()
    return [*counted(scene, rows), f"{rows.seq:5} events, {len(rows.attempts)} attempts"]
