"""The store in PostgreSQL: the suite of every store, many writers, restarts of the server, and what can be wrong."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from postgresql_server import DEADLINE_S, PostgresqlServer
from test_store_contract import *  # noqa: F403 - the suite of every store, with this module's `store`

from ampacity.model.errors import StaleVersion, StateFolderBusy, StoreCorrupt, StoreError, StoreTooNew
from ampacity.model.event import fold
from ampacity.store import open_store
from ampacity.store.base import Store
from ampacity.store.feed import FeedStore
from ampacity.store.postgresql import PostgresqlStore
from rows import draft, make_node, make_workload, submitted

_numbers = itertools.count()


@pytest.fixture
def url(postgresql: PostgresqlServer) -> str:
    return postgresql.new_database(f"store{next(_numbers)}")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    found = open_store(url)
    yield found
    found.close()


def test_what_was_written_is_there_when_it_is_opened_again(url: str) -> None:
    first = open_store(url)
    first.append([submitted(make_workload("a")), draft(make_node())], cursors={"local": "7"})
    first.compact(before=1)
    rows = first.rows()
    first.close()
    again = open_store(url)
    assert (again.rows(), dict(again.cursors())) == (rows, {"local": "7"})
    assert fold(again.events(), again.base()) == rows
    again.close()


def test_one_control_plane_at_a_time(url: str) -> None:
    first = open_store(url)
    with pytest.raises(StateFolderBusy, match="works on the store"):
        open_store(url)
    first.close()
    open_store(url).close()


def test_one_that_was_taken_over_from_writes_nothing_more(url: str, postgresql: PostgresqlServer) -> None:
    first = open_store(url)
    first.append([draft(make_node())])
    database = url.partition("@/")[2].partition("?")[0]
    ends = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    postgresql.sql(ends, database)
    second = open_store(url)
    with pytest.raises(StoreError, match="has taken over"):
        first.append([draft(make_node("n2"))])
    assert second.append([draft(make_node("n3"))])[0].seq == 2
    assert sorted(second.rows().nodes) == ["n1", "n3"]
    first.close()
    second.close()


def test_many_threads_write_without_gaps(store: Store) -> None:
    def write(name: str) -> None:
        for index in range(20):
            store.append([draft(make_node(f"{name}{index}"))])

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [event.seq for event in store.events()] == list(range(1, 81))
    assert fold(store.events(), store.base()) == store.rows()


def test_of_two_writes_upon_one_version_one_is_stale(store: Store) -> None:
    store.append([draft(make_node())])
    outcomes: list[str] = []
    gate = threading.Barrier(2)

    def write(label: str) -> None:
        gate.wait()
        try:
            store.append([draft(replace(make_node(), labels={"by": label}, version=2))])
            outcomes.append("written")
        except StaleVersion:
            outcomes.append("stale")

    writers = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(outcomes) == ["stale", "written"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGQUIT])
def test_a_restart_of_the_server_under_load_loses_nothing_and_doubles_nothing(
    url: str, postgresql: PostgresqlServer, signum: int
) -> None:
    """Whoever was told that it is written finds it; who was told that it is not, does not."""
    store = FeedStore(open_store(url))
    told: dict[str, bool] = {}
    done = threading.Event()

    def write() -> None:
        for number in itertools.count():
            if done.is_set():
                return
            name = f"n{number}"
            try:
                store.append([draft(make_node(name))])
                told[name] = True
            except StoreError:
                told[name] = False
                time.sleep(0.02)

    writer = threading.Thread(target=write)
    writer.start()
    for _ in range(3):
        grows(told)
        postgresql.restart(signum)
    grows(told)
    done.set()
    writer.join()
    written = {name for name, was in told.items() if was}
    assert set(store.rows().nodes) == written
    assert [event.seq for event in store.events()] == list(range(1, len(written) + 1))
    assert fold(store.events(limit=100_000), store.base()) == store.rows()
    store.close()


def grows(told: dict[str, bool]) -> None:
    before, deadline = sum(told.values()), time.monotonic() + DEADLINE_S
    while sum(told.values()) < before + 20:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_commit_whose_answer_was_lost_is_found(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(url)
    assert isinstance(store, PostgresqlStore)
    lose_after_commit(store, monkeypatch)
    assert [event.seq for event in store.append([draft(make_node())])] == [1]
    assert [event.seq for event in store.append([draft(make_node("n2"))])] == [2]
    assert sorted(store.rows().nodes) == ["n1", "n2"]
    store.close()


def lose_after_commit(store: PostgresqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first commit is carried out, and the connection is gone before it is answered."""
    dialect = store._writer.dialect
    commit = dialect.do_commit
    left = [1]

    def do_commit(connection: object) -> None:
        commit(connection)  # type: ignore[arg-type]
        if left:
            left.pop()
            connection.driver_connection.close()  # type: ignore[attr-defined]
            raise psycopg.OperationalError("the connection is closed")

    monkeypatch.setattr(dialect, "do_commit", do_commit)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from ampacity.store import open_store
from rows import draft, make_node
store = open_store(sys.argv[1])
for number in range(1000):
    store.append([draft(make_node(f"n{number}"))])
    print(number, flush=True)
"""


def test_a_write_that_was_cut_off_before_it_began_is_not_taken_for_the_one_before(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(url)
    assert isinstance(store, PostgresqlStore)
    store.append([draft(make_node())])
    lose_at_first_statement(store, monkeypatch)
    with pytest.raises(StoreError, match="Nothing was written"):
        store.append([draft(make_node("n2"))])
    assert sorted(store.rows().nodes) == ["n1"]
    assert [event.seq for event in store.append([draft(make_node("n3"))])] == [2]
    store.close()


def lose_at_first_statement(store: PostgresqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is gone when the next transaction asks for the first time."""
    dialect = store._writer.dialect
    execute, left = dialect.do_execute, [1]

    def do_execute(cursor: Any, statement: Any, parameters: Any, context: Any = None) -> None:
        if left:
            left.pop()
            cursor.connection.close()
        execute(cursor, statement, parameters, context)

    monkeypatch.setattr(dialect, "do_execute", do_execute)


def test_a_write_that_the_server_is_still_at_is_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut network: the client sees its connection gone while the server still commits."""
    store = open_store(url)
    assert isinstance(store, PostgresqlStore)
    slow: list[Any] = []
    dialect = store._writer.dialect
    commit = dialect.do_commit

    def do_commit(connection: Any) -> None:
        if slow:
            commit(connection)
            return
        slow.append(connection.driver_connection)
        raise psycopg.OperationalError("the connection is closed")

    monkeypatch.setattr(dialect, "do_commit", do_commit)
    monkeypatch.setattr(dialect, "is_disconnect", lambda *_: True)
    monkeypatch.setattr(dialect, "do_rollback", lambda _: None)
    monkeypatch.setattr(dialect, "do_close", lambda _: None)
    monkeypatch.setattr(dialect, "do_terminate", lambda _: None)
    ends = threading.Timer(0.5, lambda: slow[0].commit())
    ends.start()
    assert [event.seq for event in store.append([draft(make_node())])] == [1]
    assert sorted(store.rows().nodes) == ["n1"]
    ends.join()
    store.close()


def test_a_killed_writer_leaves_what_it_was_told_is_written(url: str) -> None:
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with subprocess.Popen([sys.executable, "-c", KILLED, url, tests], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(50)]
        writer.kill()
    store = eventually_open(url)
    seqs = [event.seq for event in store.events()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert len(seqs) >= len(told)
    assert fold(store.events(), store.base()) == store.rows()
    store.close()


def eventually_open(url: str) -> Store:
    """The server needs a moment to see that a client is gone."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            return open_store(url)
        except StateFolderBusy:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def change(statement: str) -> Callable[[PostgresqlServer, str], str]:
    def apply(server: PostgresqlServer, url: str) -> str:
        open_store(url).close()
        server.sql(statement, url.partition("@/")[2].partition("?")[0])
        return url

    return apply


@pytest.mark.parametrize(
    ("spoil", "kind", "says", "hint"),
    [
        (lambda server, url: url.replace("store", "nothing"), StoreError, "does not exist", "createdb"),
        (lambda server, url: url.replace("host=", "host=/nowhere"), StoreError, "opened as a store", "server runs"),
        (lambda server, url: "postgresql://127.0.0.1:1/x", StoreError, "refused", "server runs"),
        (lambda server, url: "postgresql://host:port/x", StoreError, "no address", "postgresql://user@host"),
        (change("UPDATE ampacity.alembic_version SET version_num = '0999'"), StoreTooNew, "newer release", "Install"),
        (change("DROP TABLE ampacity.alembic_version"), StoreCorrupt, "no store of Ampacity's", "backup"),
    ],
)
def test_what_cannot_be_opened_says_why_and_what_to_do(
    url: str, postgresql: PostgresqlServer, spoil: Callable[..., str], kind: type[StoreError], says: str, hint: str
) -> None:
    with pytest.raises(kind, match=says) as refused:
        open_store(spoil(postgresql, url))
    assert hint in refused.value.hint


def test_a_password_is_not_shown(url: str) -> None:
    with pytest.raises(StoreError) as refused:
        open_store("postgresql://me:geheim@127.0.0.1:1/x")
    assert "geheim" not in str(refused.value)
