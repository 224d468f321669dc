"""The client over cuts and restarts: nothing lost, nothing twice."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from plane_double import PlaneDouble
from plane_server import serving, write_control_json

from ampacity.api.server import RunningServer
from ampacity.client import Client
from ampacity.model.errors import NameTaken, NotFound, NotRunning
from ampacity.model.workload import WorkloadKind, WorkloadPhase, WorkloadSpec

SPEC = WorkloadSpec(name="hello", kind=WorkloadKind.TASK, run="true")


class Reader:
    """Iterates in a thread of its own."""

    def __init__(self, items: Callable[[], Iterator[Any]]) -> None:
        self.seen: queue.Queue[Any] = queue.Queue()
        self.error: Exception | None = None

        def read() -> None:
            try:
                for item in items():
                    self.seen.put(item)
            except Exception as error:  # noqa: BLE001 - for the test to look at
                self.error = error
            self.seen.put(None)

        self.thread = threading.Thread(target=read, daemon=True)
        self.thread.start()

    def next(self) -> Any:
        return self.seen.get(timeout=120)


@contextmanager
def up(plane: PlaneDouble, folder: Path) -> Iterator[RunningServer]:
    """A control plane that leaves its ``control.json`` while it runs."""
    with serving(plane, folder) as server:
        write_control_json(folder, socket=server.socket_path, api_url=server.url)
        yield server
        (folder / "control.json").unlink()


def test_logs_go_on_where_they_were(plane: PlaneDouble, folder: Path) -> None:
    ident = plane.add("job", created_at=1.0)
    with Client(folder, reconnect_s=20) as client:
        with up(plane, folder):
            reader = Reader(lambda: client.logs("job", follow=True))
            plane.say(ident, "one", "two")
            assert [reader.next().text, reader.next().text] == ["one", "two"]
        plane.say(ident, "while it was down")
        plane.add("job", created_at=2.0)  # the name now means another one
        with up(plane, folder):
            assert reader.next().text == "while it was down"
            plane.say(ident, "three")
            assert reader.next().text == "three"
            plane.end(ident)
            assert reader.next() is None
    assert reader.error is None


def test_events_go_on_where_they_were(plane: PlaneDouble, folder: Path) -> None:
    plane.add("a", created_at=1.0)
    with Client(folder, reconnect_s=20) as client:
        with up(plane, folder):
            reader = Reader(lambda: client.events(follow=True, limit=4))
            assert reader.next().seq == 1
        plane.add("b", created_at=2.0)
        plane.add("c", created_at=3.0)
        with up(plane, folder):
            assert [reader.next().seq, reader.next().seq] == [2, 3]
            plane.add("d", created_at=4.0)
            assert reader.next().seq == 4
            assert reader.next() is None
    assert reader.error is None


def test_a_wait_survives_a_restart(plane: PlaneDouble, folder: Path) -> None:
    ident = plane.add("job", created_at=1.0)
    with Client(folder, reconnect_s=20) as client:
        with up(plane, folder):
            reader = Reader(lambda: iter([client.wait("job")]))
            while plane.calls.get("workload", 0) == 0:
                threading.Event().wait(0.01)
        with up(plane, folder):
            plane.end(ident, WorkloadPhase.FAILED)
            assert reader.next().workload.phase is WorkloadPhase.FAILED


def test_patience_ends(plane: PlaneDouble, folder: Path) -> None:
    plane.add("job", created_at=1.0)
    with Client(folder, reconnect_s=0.2) as client:
        with up(plane, folder):
            readers = [
                Reader(lambda: client.logs("job", follow=True)),
                Reader(lambda: client.events(after=1, follow=True)),
                Reader(lambda: iter([client.wait("job")])),
            ]
            while plane.calls.get("workload", 0) == 0 or plane.calls.get("events", 0) == 0:
                threading.Event().wait(0.01)
        for reader in readers:
            assert reader.next() is None
            assert isinstance(reader.error, NotRunning)


def test_calls_find_a_control_plane_that_moved(plane: PlaneDouble, folder: Path) -> None:
    with Client(folder) as client:
        with pytest.raises(NotRunning, match="ampacity up"):
            client.status()
        for name in ("one", "two"):
            home = folder / name
            home.mkdir()
            with serving(plane, home) as server:
                write_control_json(folder, socket=server.socket_path, api_url=server.url)
                assert client.status().nodes == 2
        with pytest.raises(NotRunning):
            client.status()


class Cutter:
    """Passes bytes on between clients and the server, and cuts each connection after so many bytes of answer."""

    def __init__(self, target: str, path: str, budgets: list[int | None]) -> None:
        self.connections = 0
        self._target, self._budgets = target, budgets
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            budget = self._budgets[min(self.connections, len(self._budgets) - 1)]
            self.connections += 1
            far = socket.socket(socket.AF_UNIX)
            far.connect(self._target)
            threading.Thread(target=self._pump, args=(near, far, None), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, budget), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, budget: int | None) -> None:
        left = budget
        with suppress(OSError):  # the other pump has shut both down
            while left is None or left > 0:
                data = source.recv(65536 if left is None else min(65536, left))
                if not data:
                    break
                sink.sendall(data)
                left = None if left is None else left - len(data)
        for sock in (source, sink):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def cut(own_server: RunningServer, folder: Path) -> Iterator[Callable[..., Client]]:
    made: list[tuple[Cutter, Client]] = []

    def make(*budgets: int | None) -> tuple[Cutter, Client]:
        path = str(folder / "cut.sock")
        cutter = Cutter(own_server.socket_path, path, list(budgets))
        write_control_json(folder, socket=path)
        client = Client(folder, reconnect_s=10)
        made.append((cutter, client))
        return cutter, client

    yield make  # type: ignore[misc]
    for cutter, client in made:
        client.close()
        cutter.close()


@pytest.mark.parametrize("budget", [700, 5_000, 123_456, 300_000])
def test_a_stream_that_is_cut_anywhere_loses_and_doubles_nothing(
    cut: Callable[..., Any], plane: PlaneDouble, budget: int
) -> None:
    ident = plane.add("job", created_at=1.0)
    plane.say(ident, *(f"line {index} {'x' * 40}" for index in range(5000)))
    plane.end(ident)
    cutter, client = cut(budget, budget, budget, None)
    texts = [record.text.split()[1] for record in client.logs(ident)]
    assert texts == [str(index) for index in range(5000)]
    assert cutter.connections >= 3


def test_a_read_that_was_cut_is_tried_again(cut: Callable[..., Any]) -> None:
    cutter, client = cut(20, 20, None)
    assert client.status().nodes == 2
    assert cutter.connections == 3


def test_a_submit_whose_answer_was_lost_is_repeated_and_done_once(cut: Callable[..., Any], plane: PlaneDouble) -> None:
    """The request arrived whole and its answer did not: the repeat gets the first answer."""
    cutter, client = cut(20, 20, None)
    view = client.submit(SPEC)
    assert cutter.connections == 3
    assert plane.calls["submit"] == 1
    assert list(client.workloads(all=True)) == [view]


def test_each_call_is_a_new_request(client: Client, plane: PlaneDouble) -> None:
    client.submit(SPEC)
    with pytest.raises(NameTaken):
        client.submit(SPEC)
    assert plane.calls["submit"] == 2


def test_a_write_that_is_cut_again_and_again_is_done_once(cut: Callable[..., Any], plane: PlaneDouble) -> None:
    ident = plane.add("job", created_at=1.0)
    cutter, client = cut(20)
    with pytest.raises(NotRunning, match="not known whether it was carried out"):
        client.stop(ident)
    assert (plane.calls["set_desired"], cutter.connections) == (1, 3)


def test_an_iterator_that_is_dropped_hangs_up(
    cut: Callable[..., Any], own_server: RunningServer, plane: PlaneDouble
) -> None:
    _, client = cut(None)
    ident = plane.add("job", created_at=1.0)
    plane.say(ident, "one")
    records = client.logs(ident, follow=True)
    assert next(records).text == "one"
    assert own_server.service.active_streams == 1
    records.close()  # type: ignore[attr-defined]
    while own_server.service.active_streams:
        threading.Event().wait(0.01)


def test_a_follower_of_nothing_hears_so_at_once(client: Client) -> None:
    with pytest.raises(NotFound):
        next(client.logs("nobody", follow=True))
    with pytest.raises(NotFound):
        next(client.events(workload="nobody", follow=True))
