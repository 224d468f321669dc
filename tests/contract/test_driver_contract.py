"""What every driver promises. One suite; each driver brings a rig that can make a member do what a test needs."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from abc import ABC, abstractmethod
from pathlib import Path

import pytest

from ampacity.drivers.base import Driver, Launch, LogLine, Mount
from ampacity.drivers.fake import FakeDriver
from ampacity.drivers.local.driver import LocalDriver
from ampacity.model.attempt import Cause, CauseKind, MemberExited, MemberFact, MemberStarted
from ampacity.model.errors import Conflict, DriverUnavailable, LaunchFailed, NotFound, Unsupported
from ampacity.model.ids import AttemptId, MemberKey, NodeId
from ampacity.model.node import Node
from ampacity.model.resources import Allocation

DEADLINE_S = 120.0
NODES = tuple(
    Node(id=NodeId(name), driver="", cpu_milli=8000, memory_bytes=1 << 33, declared=True) for name in ("n1", "n2")
)


def key_of(member: int) -> MemberKey:
    return MemberKey(attempt=AttemptId("w1.0.1"), member=member, epoch=1)


class Rig(ABC):
    """A driver under test, and the means to make its members behave."""

    driver: Driver

    def __init__(self) -> None:
        self.woken = threading.Event()

    def start(self, member: int, **more: object) -> MemberKey:
        self.driver.ensure_started(self.launch(member, **more))
        return key_of(member)

    def launch(self, member: int, **more: object) -> Launch:
        return Launch(
            **{
                "key": key_of(member),
                "node": NodeId("n1"),
                "argv": self.argv(),
                "allocation": Allocation(cpu_milli=1000, memory_bytes=0),
                **more,
            }
        )

    def facts(self, cursor: str | None = None) -> list[MemberFact]:
        return list(self.driver.facts(cursor).facts)

    def wait_for(self, kind: type[MemberFact], key: MemberKey) -> MemberFact:
        """The first such fact, asleep until the driver's wake. That the wake comes is part of the contract."""
        deadline = time.monotonic() + DEADLINE_S
        while True:
            self.woken.clear()
            for fact in self.facts():
                if isinstance(fact, kind) and fact.key == key:
                    return fact
            assert self.woken.wait(deadline - time.monotonic()), f"no {kind.__name__} of {key}: {self.facts()}"

    def exit_of(self, key: MemberKey) -> Cause:
        fact = self.wait_for(MemberExited, key)
        assert isinstance(fact, MemberExited)
        return fact.cause

    @abstractmethod
    def argv(self) -> tuple[str, ...]:
        """A command that waits to be told what to do."""

    @abstractmethod
    def tell(self, key: MemberKey, *orders: str) -> None:
        """Orders: ``print TEXT``, ``write NAME TEXT``, ``exit CODE``, ``die SIGNUM``."""

    @abstractmethod
    def starts(self, key: MemberKey) -> int:
        """How often the member's process began."""

    @abstractmethod
    def restart(self) -> None:
        """A new driver object, as after a crash of the control plane."""

    @abstractmethod
    def close(self) -> None: ...


class FakeRig(Rig):
    driver: FakeDriver

    def __init__(self) -> None:
        super().__init__()
        self.driver = FakeDriver(NODES)
        self.driver.on_wake(self.woken.set)

    def argv(self) -> tuple[str, ...]:
        return ("member",)

    def tell(self, key: MemberKey, *orders: str) -> None:
        for order in orders:
            verb, _, rest = order.partition(" ")
            if verb == "print":
                self.driver.print(key, rest)
            elif verb == "write":
                name, _, text = rest.partition(" ")
                self.driver.write_file(key, name, text.encode())
            elif verb == "exit":
                self.driver.finish(key, int(rest))
            else:
                self.driver.crash(key, Cause(kind=CauseKind.SIGNAL, signal=int(rest)))

    def starts(self, key: MemberKey) -> int:
        return self.driver.starts[key]

    def restart(self) -> None:
        self.driver.close()
        self.driver.on_wake(self.woken.set)

    def close(self) -> None:
        self.driver.close()


SCRIPT = """
echo began >> {member_dir}/starts
while read verb rest; do
  case $verb in
    print) echo "$rest" ;;
    write) set -- $rest; name=$1; shift; echo -n "$*" > {member_dir}/$name ;;
    exit) exit $rest ;;
    die) kill -$rest $$ ;;
  esac
done <> {member_dir}/orders
"""


class LocalRig(Rig):
    driver: LocalDriver

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.started: set[MemberKey] = set()
        self.open()

    def open(self) -> None:
        self.driver = LocalDriver(self.folder, NODES)
        self.driver.on_wake(self.woken.set)

    def launch(self, member: int, **more: object) -> Launch:
        self.started.add(key_of(member))
        return super().launch(member, **more)

    def argv(self) -> tuple[str, ...]:
        return ("sh", "-c", "mkfifo {member_dir}/orders\n" + SCRIPT)

    def member_dir(self, key: MemberKey) -> Path:
        return self.folder / "members" / str(key)

    def tell(self, key: MemberKey, *orders: str) -> None:
        fifo = self.member_dir(key) / "orders"
        deadline = time.monotonic() + DEADLINE_S
        while not fifo.exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        with open(os.open(fifo, os.O_RDWR), "w") as file:
            file.write("".join(f"{order}\n" for order in orders))
            file.flush()
            if orders[-1].startswith(("exit", "die")):
                self.exit_of(key)

    def starts(self, key: MemberKey) -> int:
        try:
            return (self.member_dir(key) / "starts").read_text().count("began")
        except FileNotFoundError:
            return 0

    def restart(self) -> None:
        self.driver.close()
        self.open()

    def close(self) -> None:
        for key in self.started:
            if self.member_dir(key).exists():
                self.driver.ensure_stopped(key, grace_s=0, reason="the test is over")
                self.exit_of(key)
        self.driver.close()
        os.kill(int((self.folder / "parent.lock").read_text()), signal.SIGKILL)


@pytest.fixture(params=["fake", "local"])
def rig(request, tmp_path):
    made = FakeRig() if request.param == "fake" else LocalRig(tmp_path / "local")
    yield made
    made.close()


def test_it_shows_its_nodes_and_what_it_can_do(rig):
    assert [node.id for node in rig.driver.nodes()] == ["n1", "n2"]
    assert {node.driver for node in rig.driver.nodes()} == {rig.driver.name}
    can = rig.driver.capabilities()
    if not can.exec:
        with pytest.raises(Unsupported):
            rig.driver.exec(key_of(0), ("true",))
    if not can.resize:
        with pytest.raises(Unsupported):
            rig.driver.resize(key_of(0), Allocation(cpu_milli=1, memory_bytes=0))


def test_a_member_starts_and_completes(rig):
    key = rig.start(0)
    rig.wait_for(MemberStarted, key)
    rig.tell(key, "exit 0")
    cause = rig.exit_of(key)
    assert (cause.kind, cause.exit_code, cause.signal) == (CauseKind.COMPLETED, 0, None)
    kinds = [type(fact) for fact in rig.facts()]
    assert kinds == [MemberStarted, MemberExited]


def test_it_says_the_exit_code(rig):
    key = rig.start(0)
    rig.tell(key, "exit 3")
    cause = rig.exit_of(key)
    assert (cause.kind, cause.exit_code) == (CauseKind.EXIT, 3)


def test_it_says_the_signal(rig):
    key = rig.start(0)
    rig.tell(key, f"die {signal.SIGUSR1.value}")
    cause = rig.exit_of(key)
    assert (cause.kind, cause.signal) == (CauseKind.SIGNAL, signal.SIGUSR1)


def test_started_twice_it_runs_once(rig):
    key = rig.start(0)
    rig.start(0)
    rig.restart()
    rig.start(0)
    rig.tell(key, "exit 0")
    rig.exit_of(key)
    rig.start(0)
    rig.restart()
    rig.start(0)
    assert rig.starts(key) == 1
    assert sum(isinstance(fact, MemberStarted) for fact in rig.facts()) == 1


def test_started_by_many_threads_it_runs_once(rig):
    threads = [threading.Thread(target=rig.start, args=(0,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rig.wait_for(MemberStarted, key_of(0))
    rig.tell(key_of(0), "exit 0")
    rig.exit_of(key_of(0))
    assert rig.starts(key_of(0)) == 1


def test_a_stop_ends_it_and_says_why(rig):
    key = rig.start(0)
    rig.wait_for(MemberStarted, key)
    rig.driver.ensure_stopped(key, grace_s=5, reason="alice wished it")
    rig.driver.ensure_stopped(key, grace_s=5, reason="alice wished it")
    cause = rig.exit_of(key)
    assert cause.kind is CauseKind.STOPPED
    assert "alice wished it" in cause.message
    rig.driver.ensure_stopped(key, grace_s=5, reason="once more")
    assert sum(isinstance(fact, MemberExited) for fact in rig.facts()) == 1


def test_a_stop_before_the_start_fences(rig):
    key = key_of(0)
    rig.driver.ensure_stopped(key, grace_s=5, reason="too late")
    cause = rig.exit_of(key)
    assert cause.kind is CauseKind.STOPPED
    rig.start(0)
    rig.restart()
    rig.start(0)
    assert rig.starts(key) == 0
    assert [type(fact) for fact in rig.facts()] == [MemberExited]


def test_facts_can_be_read_again_and_in_pages(rig):
    for member in range(4):
        rig.start(member)
        rig.tell(key_of(member), "exit 0")
        rig.exit_of(key_of(member))
    whole = rig.facts()
    assert len(whole) == 8
    paged: list[MemberFact] = []
    cursor = None
    for _ in range(3):
        page = rig.driver.facts(cursor, limit=3)
        assert page == rig.driver.facts(cursor, limit=3)
        paged.extend(page.facts)
        cursor = page.cursor
    assert paged == whole
    assert rig.driver.facts(cursor).facts == ()
    rig.restart()
    assert rig.driver.facts(cursor).facts == ()
    rig.start(9)
    rig.wait_for(MemberStarted, key_of(9))
    assert [fact.key.member for fact in rig.driver.facts(cursor).facts] == [9]


def test_a_new_driver_finds_what_runs_and_what_ended_meanwhile(rig):
    kept, ended = rig.start(0), rig.start(1)
    rig.wait_for(MemberStarted, kept)
    rig.wait_for(MemberStarted, ended)
    rig.driver.close()
    if isinstance(rig, LocalRig):
        rig.open()
        rig.driver.close()
        rig.open()
    else:
        rig.restart()
    rig.tell(ended, "exit 4")
    assert rig.exit_of(ended).exit_code == 4
    rig.driver.ensure_stopped(kept, grace_s=5, reason="done")
    assert rig.exit_of(kept).kind is CauseKind.STOPPED
    assert rig.starts(kept) == rig.starts(ended) == 1


def lines_of(rig: Rig, key: MemberKey, cursor: str | None = None, limit: int = 1000) -> tuple[list[LogLine], str, bool]:
    page = rig.driver.logs(key, cursor, limit=limit)
    return list(page.lines), page.cursor, page.ended


def test_logs_come_in_order_by_cursor_and_end(rig):
    key = rig.start(0)
    rig.tell(key, *(f"print line {number} über" for number in range(5)), "exit 0")
    rig.exit_of(key)
    lines, cursor, ended = lines_of(rig, key, limit=2)
    assert [line.text for line in lines] == ["line 0 über", "line 1 über"]
    assert not ended
    more, cursor, ended = lines_of(rig, key, cursor)
    assert [line.text for line in more] == ["line 2 über", "line 3 über", "line 4 über"]
    assert ended
    assert {(line.rank, line.stream) for line in lines + more} == {(-1, "out")}
    times = [line.at for line in lines + more]
    assert times == sorted(times)
    assert abs(times[0] - time.time()) < 60
    assert lines_of(rig, key, cursor) == ([], cursor, True)


def test_the_cause_carries_the_last_lines(rig):
    key = rig.start(0)
    rig.tell(key, *(f"print {number}" for number in range(30)), "exit 1")
    assert rig.exit_of(key).last_lines == tuple(str(number) for number in range(10, 30))


def test_files_given_and_written_can_be_read(rig):
    key = rig.start(0, files={"agent.json": '{"a": 1}'})
    assert rig.driver.files(key, "agent.json") == b'{"a": 1}'
    rig.tell(key, "write result some words", "exit 0")
    rig.exit_of(key)
    assert rig.driver.files(key, "result") == b"some words"
    assert rig.driver.files(key, "result", offset=5, limit=3) == b"wor"
    assert rig.driver.files(key, "result", offset=100) == b""
    for path in ("absent", "../../facts.jsonl", "/etc/passwd", "", "agent.json/below"):
        with pytest.raises(NotFound):
            rig.driver.files(key, path)


def test_a_signal_reaches_it_only_while_it_runs(rig):
    key = rig.start(0)
    rig.wait_for(MemberStarted, key)
    rig.driver.signal(key, signal.SIGCONT)
    rig.tell(key, "exit 0")
    rig.exit_of(key)
    with pytest.raises(Conflict):
        rig.driver.signal(key, signal.SIGCONT)


def test_a_port_is_told_to_the_world(rig):
    first, second = rig.start(0, port=0), rig.start(1, port=0)
    endpoints = {rig.wait_for(MemberStarted, key).endpoint for key in (first, second)}
    assert len(endpoints) == 2
    assert all(endpoint.startswith("127.0.0.1:") and int(endpoint.split(":")[1]) > 1023 for endpoint in endpoints)
    without = rig.start(2)
    assert rig.wait_for(MemberStarted, without).endpoint == ""


def test_what_is_not_there_is_not_found(rig):
    with pytest.raises(NotFound):
        rig.driver.logs(key_of(7), None)
    with pytest.raises(NotFound):
        rig.driver.files(key_of(7), "x")
    with pytest.raises(NotFound):
        rig.driver.signal(key_of(7), signal.SIGCONT)
    rig.driver.forget(key_of(7))


def test_an_unknown_node_starts_nothing(rig):
    with pytest.raises((LaunchFailed, DriverUnavailable)):
        rig.driver.ensure_started(rig.launch(0, node=NodeId("elsewhere")))
    assert rig.facts() == []
    assert rig.starts(key_of(0)) == 0


def test_forget_removes_only_what_has_ended(rig):
    key = rig.start(0)
    rig.wait_for(MemberStarted, key)
    with pytest.raises(Conflict):
        rig.driver.forget(key)
    rig.tell(key, "exit 0")
    rig.exit_of(key)
    rig.driver.forget(key)
    rig.driver.forget(key)
    with pytest.raises(NotFound):
        rig.driver.logs(key, None)
    assert [type(fact) for fact in rig.facts()] == [MemberStarted, MemberExited]


@pytest.fixture(params=["local"])
def mounting(request, tmp_path):
    """A rig of each driver that can mount."""
    made = LocalRig(tmp_path / request.param)
    assert made.driver.capabilities().mounts
    yield made
    made.close()


def test_volumes_are_found_at_their_targets_also_by_who_enters(mounting, tmp_path):
    corpus, target = tmp_path / "corpus", tmp_path / "data" / "corpus"
    corpus.mkdir()
    (corpus / "part-0").write_text("tokens")
    mount = Mount(source=str(corpus), target=str(target), read_only=True)
    key = mounting.start(0, mounts=(mount,), setup=f"cat {target}/part-0; touch {target}/new || echo kept")
    mounting.wait_for(MemberStarted, key)
    entered = mounting.driver.exec(key, ("cat", f"{target}/part-0"))
    try:
        select.select([entered.exit_fd], [], [], DEADLINE_S)
        assert (entered.exit_code(), os.read(entered.stdout, 100)) == (0, b"tokens")
    finally:
        entered.close()
    mounting.tell(key, "exit 0")
    assert mounting.exit_of(key).kind is CauseKind.COMPLETED
    assert [line.text for line in lines_of(mounting, key)[0] if line.stream == "out"] == ["tokenskept"]
    assert list(target.iterdir()) == []


def test_a_volume_that_cannot_be_had_fails_the_launch_and_is_named(mounting, tmp_path):
    key = mounting.start(0, mounts=(Mount(source=str(tmp_path / "gone"), target="/data"),))
    cause = mounting.exit_of(key)
    assert cause.kind is CauseKind.LAUNCH_FAILED
    assert cause.message == f"the folder {tmp_path}/gone, which it mounts at /data, does not exist on this node"
    with pytest.raises(LaunchFailed, match="it would hide"):
        mounting.start(1, mounts=(Mount(source="/tmp", target=str(tmp_path)),))
    itself = mounting.start(3, mounts=(Mount(source=str(tmp_path), target=str(tmp_path)),))
    mounting.wait_for(MemberStarted, itself)
    (tmp_path / "file").write_text("")
    key = mounting.start(2, mounts=(Mount(source=str(tmp_path), target=str(tmp_path / "file" / "below")),))
    assert mounting.exit_of(key).message.startswith(f"its volume cannot be mounted at {tmp_path}/file/below: ")
    assert mounting.starts(key) == 0
