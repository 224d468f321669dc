"""SQLite under kills, full disks, strangers and newer releases: what was acknowledged is there, and nothing is torn."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from ampacity.model.errors import NameTaken, StoreCorrupt, StoreError, StoreTooNew
from ampacity.model.event import fold
from ampacity.store import open_store
from rows import draft, make_node, make_workload, submitted

WRITER = """
import sys
sys.path.insert(0, sys.argv[2])
from rows import make_workload, submitted
from ampacity.store import open_store
store = open_store(sys.argv[1])
for number in range(100000):
    events = store.append([submitted(make_workload(f"a{number}")), submitted(make_workload(f"b{number}"))])
    print(events[-1].seq, flush=True)
"""
TESTS = str(Path(__file__).parents[1])


@pytest.mark.parametrize("after", [1, 7, 40])
def test_every_acknowledged_append_survives_a_kill(tmp_path: Path, after: int) -> None:
    path = str(tmp_path / "store.db")
    writer = subprocess.Popen([sys.executable, "-c", WRITER, path, TESTS], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    told = 0
    for _ in range(after):
        told = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    told = max([told, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    writer.wait()
    store = open_store(path)
    rows = store.rows()
    assert rows.seq >= told
    assert rows.seq % 2 == 0, "an append of two events is there whole or not at all"
    assert fold(store.events(limit=1_000_000), store.base()) == rows
    assert len(rows.workloads) == rows.seq
    store.append([draft(make_node())])
    store.close()


OPENER = """
import sys
sys.path.insert(0, sys.argv[2])
from rows import make_workload, submitted
from ampacity.store import open_store
print("ready", flush=True)
sys.stdin.readline()
store = open_store(sys.argv[1])
for number in range(10):
    store.append([submitted(make_workload(f"{sys.argv[3]}-{number}"))])
"""


def test_processes_that_open_a_new_file_together_and_write_lose_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "store.db")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", OPENER, path, TESTS, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        _, said = writer.communicate(timeout=60)
        assert writer.returncode == 0, said
    store = open_store(path)
    assert [event.seq for event in store.events()] == list(range(1, 31))
    assert len(store.rows().workloads) == 30
    assert fold(store.events(), store.base()) == store.rows()
    store.close()


KILLED_WHILE_MIGRATING = """
import os, signal, sys
from alembic import op
from ampacity.store import open_store
create, left = op.create_index, int(sys.argv[3])
def create_index(*given, **more):
    global left
    create(*given, **more)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
op.create_index = create_index
open_store(sys.argv[1])
"""


@pytest.mark.parametrize("after", [1, 4])
def test_a_kill_while_the_tables_are_made_leaves_a_file_that_opens(tmp_path: Path, after: int) -> None:
    path = str(tmp_path / "store.db")
    code = KILLED_WHILE_MIGRATING
    done = subprocess.run([sys.executable, "-c", code, path, TESTS, str(after)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    store = open_store(path)
    store.append([submitted(make_workload("a"))])
    with pytest.raises(NameTaken):
        store.append([submitted(make_workload("a", ident="other"))])
    store.close()


KILLED_WHILE_COMPACTING = """
import os, signal, sys
from ampacity.store import open_store, sql
fold_page = sql.fold_page
def folding(*args, **keys):
    if sys.argv[3] == "after":
        fold_page(*args, **keys)
    os.kill(os.getpid(), signal.SIGKILL)
sql.fold_page = folding
open_store(sys.argv[1]).compact(before=15)
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_while_compacting_loses_no_event(tmp_path: Path, when: str) -> None:
    path = str(tmp_path / "store.db")
    store = open_store(path)
    for number in range(20):
        store.append([submitted(make_workload(f"w{number}"))])
    events, rows = store.events(), store.rows()
    store.close()
    code = KILLED_WHILE_COMPACTING
    done = subprocess.run([sys.executable, "-c", code, path, TESTS, when], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    store = open_store(path)
    assert store.events() == events
    store.compact(before=15)
    assert [event.seq for event in store.events()] == list(range(15, 21))
    assert fold(store.events(), store.base()) == store.rows() == rows
    store.close()


FILLER = """
import sys
sys.path.insert(0, sys.argv[2])
import resource
from rows import make_workload, submitted
from ampacity.model.errors import StoreError
from ampacity.store import open_store
store = open_store(sys.argv[1])
store.append([submitted(make_workload("first"))])
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
count = 1
try:
    while True:
        store.append([submitted(make_workload(f"w{count}"))])
        count += 1
except StoreError as error:
    print(count, error)
"""


def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "store.db")
    done = subprocess.run([sys.executable, "-c", FILLER, path, TESTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count, _, message = done.stdout.partition(" ")
    assert f"The store {path} failed: " in message
    assert "Nothing was written." in message
    store = open_store(path)
    assert store.rows().seq == int(count)
    assert fold(store.events(limit=1_000_000), store.base()) == store.rows()
    store.append([draft(make_node())])
    store.close()


def test_two_stores_on_one_file_see_each_others_writes(tmp_path: Path) -> None:
    path = str(tmp_path / "store.db")
    first, second = open_store(path), open_store(path)
    first.append([submitted(make_workload("a"))])
    second.append([submitted(make_workload("b"))])
    assert [event.seq for event in first.events()] == [1, 2]
    assert first.rows() == second.rows()
    first.close()
    second.close()


def test_a_store_of_a_newer_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    open_store(str(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StoreTooNew) as caught:
        open_store(str(path))
    assert "was written by a newer release of Ampacity (its tables are at 9999" in caught.value.message
    assert "Install that release" in caught.value.hint


def test_what_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    garbage, foreign = tmp_path / "garbage.db", tmp_path / "foreign.db"
    garbage.write_bytes(b"this is not a database at all, but it is long enough" * 100)
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = garbage.read_bytes()
    with pytest.raises(StoreCorrupt, match="cannot be opened as a store"):
        open_store(str(garbage))
    with pytest.raises(StoreCorrupt, match="not a store of Ampacity"):
        open_store(str(foreign))
    assert garbage.read_bytes() == before


def test_a_damaged_page_is_an_error_and_not_a_wrong_answer(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = open_store(str(path))
    for number in range(200):
        store.append([submitted(make_workload(f"w{number}"))])
    store.close()
    data = bytearray(path.read_bytes())
    for offset in range(8192, len(data), 4096):
        data[offset : offset + 64] = b"\xff" * 64
    path.write_bytes(bytes(data))
    with pytest.raises(StoreError):
        open_store(str(path)).rows()


@pytest.mark.parametrize(
    ("where", "message"),
    [("/nonexistent/folder/store.db", "folder"), ("oracle://x", "no store of the kind 'oracle'")],
)
def test_a_place_that_cannot_be(where: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        open_store(where)
