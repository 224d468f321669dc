"""The soak: random work and random kills on a real platform for some minutes, then a reckoning.

    python tests/soak/run.py --minutes 10 --seed 7

Exit code 0: nothing was lost, doubled, orphaned or overcommitted. 1: something was, and the folder is kept.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from soak_actions import actions
from soak_audit import audit, census
from soak_scene import Scene

from ampacity.model.errors import AmpacityError
from ampacity.store import open_store
from whole_platform import Platform

UP_AGAIN_S = 1.5
LOOK_EVERY_S = 1.0
SETTLE_S = 180.0


def soak(scene: Scene, seed: int, lasts_s: float) -> None:
    """Do one action after the other until the time is up, and look now and then at what the API shows."""
    until = time.monotonic() + lasts_s
    look_at = away_since = time.monotonic()
    for action in actions(seed):
        now = time.monotonic()
        if now >= until:
            return
        if scene.answers():
            away_since = now
        elif now - away_since >= UP_AGAIN_S * action.pick:
            scene.ensure_up()
        scene.carry_out(action)
        if now >= look_at:
            look_at = now + LOOK_EVERY_S
            look(scene)
        time.sleep(action.pause_s)


def look(scene: Scene) -> None:
    try:
        scene.trouble.extend(scene.look())
    except AmpacityError:
        scene.done["looks while the control plane was away"] += 1


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
    for name in scene.live:
        scene.entries[name].stopped = True
    said = scene.platform.ampacity("down", "--stop-workloads")
    if said.code:
        scene.trouble.append(f"down: {said.err}")
    until = time.monotonic() + 30.0
    while scene.platform.processes() and time.monotonic() < until:
        time.sleep(0.1)
    scene.trouble.extend(audit(scene))


def report(scene: Scene) -> None:
    for verb, count in sorted(scene.done.items()):
        print(f"{count:5} {verb}")
    store = open_store(str(scene.platform.state_dir / "store.db"))
    rows = store.rows()
    store.close()
    print(*census(scene, rows), sep="\n")
    print(f"{rows.seq:5} events, {len(rows.attempts)} attempts")
    for trouble in scene.trouble:
        print(f"VIOLATION: {trouble}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Random work and random kills on a real platform.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--settle-s", type=float, default=SETTLE_S, help="how long all may take to end after it")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end before its time"))  # and takes all down first
    folder = Path(tempfile.mkdtemp(prefix="ampacity-soak-"))
    (folder / "work").mkdir()
    scene = Scene(Platform(folder / "state", folder / "work"), folder)
    again = f"python tests/soak/run.py --minutes {options.minutes:g} --seed {options.seed}"
    print(f"seed {options.seed}, in {folder}; to replay: {again}", flush=True)
    try:
        scene.begin()
        soak(scene, options.seed, options.minutes * 60.0)
        settle(scene, options.settle_s)
    finally:
        finish(scene)
        report(scene)
    if scene.trouble:
        print(f"{len(scene.trouble)} violations; kept: {folder}; to replay: {again}")
        return 1
    shutil.rmtree(folder)
    print("nothing was lost, doubled, orphaned or overcommitted")
    return 0


if __name__ == "__main__":
    sys.exit(main())
