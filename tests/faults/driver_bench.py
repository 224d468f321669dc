"""Real members under the local driver, for the tests of faults: starting, waiting on conditions, and cleaning up."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ampacity.drivers.base import Launch
from ampacity.drivers.local.driver import LocalDriver
from ampacity.drivers.supervisor.processes import marked
from ampacity.model.attempt import Cause, MemberExited, MemberFact
from ampacity.model.ids import AttemptId, MemberKey, NodeId
from ampacity.model.node import Node
from ampacity.model.resources import Allocation

DEADLINE_S = 120.0
NODE = Node(id=NodeId("n1"), driver="local", cpu_milli=8000, memory_bytes=1 << 33, declared=True)

WAIT = "echo began >> {member_dir}/starts; echo up; exec sleep 1000"
"""A member that notes each of its starts."""


def key_of(member: int = 0) -> MemberKey:
    return MemberKey(attempt=AttemptId("w1.0.1"), member=member, epoch=1)


def wait_until(condition: Callable[[], object], what: str = "the condition") -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true"
        time.sleep(0.005)


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


class Bench:
    def __init__(self, folder: Path, nodes: Sequence[Node] = (NODE,)) -> None:
        self.folder = folder
        self.nodes = nodes
        self.keys: set[MemberKey] = set()
        self.opened = False
        self.open()

    def open(self) -> None:
        self.driver = LocalDriver(self.folder, self.nodes)
        self.opened = True

    def close_driver(self) -> None:
        """As if the control plane had been killed: it says goodbye to nobody anyway."""
        if self.opened:
            self.driver.close()
            self.opened = False

    def reopen(self) -> None:
        self.close_driver()
        self.open()

    def launch(self, *argv: str, member: int = 0, **more: object) -> Launch:
        self.keys.add(key_of(member))
        given = {"node": self.nodes[0].id, "allocation": Allocation(cpu_milli=1000, memory_bytes=0), **more}
        return Launch(key=key_of(member), argv=argv, **given)

    def start(self, *argv: str, **more: object) -> MemberKey:
        launch = self.launch(*argv, **more)
        self.driver.ensure_started(launch)
        return launch.key

    def python(self, script: str, **more: object) -> MemberKey:
        return self.start(sys.executable, "-I", "-S", "-c", script, **more)

    def dir(self, key: MemberKey) -> Path:
        return self.folder / "members" / str(key)

    def state(self, key: MemberKey) -> dict:
        return json.loads((self.dir(key) / "state.json").read_text())

    def write(self, key: MemberKey, name: str, value: object) -> None:
        self.dir(key).mkdir(parents=True, exist_ok=True)
        (self.dir(key) / name).write_text(json.dumps(value))

    def facts(self) -> list[MemberFact]:
        return list(self.driver.facts(None).facts)

    def exits(self, key: MemberKey) -> list[Cause]:
        return [fact.cause for fact in self.facts() if isinstance(fact, MemberExited) and fact.key == key]

    def exit_of(self, key: MemberKey) -> Cause:
        wait_until(lambda: self.exits(key), f"the end of {key}")
        return self.exits(key)[0]

    def texts(self, key: MemberKey) -> list[str]:
        return [line.text for line in self.driver.logs(key, None).lines if line.stream != "sys"]

    def wait_text(self, key: MemberKey, text: str) -> None:
        wait_until(lambda: text in self.texts(key), f"the line {text!r} of {key}")

    def parent_pid(self) -> int:
        wait_until(lambda: (self.folder / "parent.lock").exists() and (self.folder / "parent.lock").read_text())
        return int((self.folder / "parent.lock").read_text())

    def kill_parent(self) -> None:
        pid = self.parent_pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid), "the parent's end")

    def kill_supervisor(self, key: MemberKey) -> None:
        os.kill(self.state(key)["pid"], signal.SIGKILL)

    def clean_up(self) -> None:
        if not self.opened:
            self.open()
        for key in self.keys:
            self.driver.ensure_stopped(key, grace_s=0, reason="the test is over")
            self.exit_of(key)
            assert not marked(str(key)), f"processes of {key} are left"
        self.kill_parent()
        self.close_driver()


def starts(bench: Bench, key: MemberKey) -> int:
    """How often a member that waits has begun."""
    return (bench.dir(key) / "starts").read_text().count("began")
