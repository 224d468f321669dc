"""A damaged page of the store, and a place where it cannot be kept: told, never read wrongly, never written over."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ampacity.model.errors import StoreCorrupt, StoreError
from ampacity.model.event import fold
from ampacity.store import open_store
from ampacity.store.place import network_filesystem
from rows import draft, ended, make_node, make_workload, submitted

PAGE_BYTES = 4096


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("damage") / "store.db"
    store = open_store(str(path))
    for number in range(60):
        workload = make_workload(f"a{number}")
        store.append([submitted(workload), draft(make_node(f"n{number}"))])
        if number % 2:
            store.append([ended(workload)])
    store.compact(before=40)
    store.close()
    return path


def test_no_damaged_page_is_read_as_something_else(whole: Path, tmp_path: Path) -> None:
    """Each page in turn: what can be read is what was written, and what cannot is told to be damaged."""
    store = open_store(str(whole))
    rows, events = store.rows(), store.events(limit=10_000)
    assert fold(events, store.base()) == rows
    store.close()
    content = whole.read_bytes()
    told: list[tuple[StoreCorrupt, bool]] = []
    noise = random.Random(7)
    for page in range(len(content) // PAGE_BYTES):
        spoiled = bytearray(content)
        spoiled[page * PAGE_BYTES : page * PAGE_BYTES + 256] = noise.randbytes(256)
        path = tmp_path / f"{page}.db"
        path.write_bytes(spoiled)
        try:
            found = open_store(str(path))
            try:
                assert found.rows() == rows, page
                assert found.events(limit=10_000) == events, page
            finally:
                found.close()
        except StoreCorrupt as error:
            told.append((error, path.read_bytes()[: len(spoiled)] == bytes(spoiled)))
    assert len(told) > 10
    assert all("backup" in error.hint for error, _ in told)
    assert all(untouched for _, untouched in told)


MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 22 0:40 / /home rw,relatime - nfs4 server:/home rw
41 40 254:1 / /home/local rw,relatime - xfs /dev/vdb rw
42 22 0:42 / /mnt/my\\040share rw - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/x", None),
        ("/home/me/.ampacity/store.db", "nfs4"),
        ("/home/local/x", None),
        ("/homework/x", None),
        ("/mnt/my share/x", "cifs"),
    ],
)
def test_the_file_system_of_a_path(tmp_path: Path, path: str, kind: str | None) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    assert network_filesystem(path, mountinfo=str(table)) == kind
    assert network_filesystem(path, mountinfo=str(tmp_path / "none")) is None


def test_a_store_is_not_kept_on_a_network_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ampacity.store.opening.network_filesystem", lambda path: "nfs4")
    with pytest.raises(StoreError, match="network file system") as refused:
        open_store(str(tmp_path / "store.db"))
    assert "PostgreSQL" in refused.value.hint
    assert list(tmp_path.iterdir()) == []
