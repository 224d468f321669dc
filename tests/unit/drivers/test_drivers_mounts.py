"""Volumes of members: what processes find at their targets, what they may do there, and what others see."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ampacity.drivers.supervisor.mounts import Mounts, join, missing

NOBODY = 65534
PR_SET_DUMPABLE = 4


def can_mount() -> bool:
    return (
        _in_child(lambda: Mounts({"mounts": [{"source": "/tmp", "target": "/mnt", "read_only": False}]}).enter()) == 0
    )


def _in_child(act: Callable[[], object], *, uid: int = 0) -> int:
    """The exit code of a process that did it: 0, or the errno of what failed."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            if uid:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
                ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # as after an exec
            act()
            code = 0
        except OSError as error:
            code = error.errno or 98
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


needs_namespaces = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not can_mount(), reason="no mount namespaces may be made here"
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def mounts(*wanted: tuple[Path, Path] | tuple[Path, Path, bool]) -> dict[str, Any]:
    return {
        "mounts": [
            {"source": str(each[0]), "target": str(each[1]), "read_only": len(each) == 3 and each[2]} for each in wanted
        ]
    }


def see(member: dict[str, Any], script: str, *, uid: int = 0) -> str:
    """What a script prints that runs where the member's volumes are mounted."""
    read, write = os.pipe()

    def act() -> None:
        asked = Mounts(member)
        if asked.asked:
            asked.enter()
        for index in range(len(asked.asked)):
            asked.bind(index)
        os.write(write, subprocess.run(["sh", "-c", script], capture_output=True, check=False).stdout)

    code = _in_child(act, uid=uid)
    os.close(write)
    with os.fdopen(read) as file:
        found = file.read()
    assert code == 0, os.strerror(code)
    return found


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    found = tmp_path / "corpus"
    found.mkdir()
    (found / "part-0").write_text("tokens\n")
    return found


@needs_namespaces
def test_a_folder_is_found_at_its_target_by_the_member_alone(corpus: Path, tmp_path: Path) -> None:
    target = tmp_path / "made" / "for it"
    assert see(mounts((corpus, target)), f"cat '{target}/part-0'") == "tokens\n"
    assert list(target.iterdir()) == [], "the node itself does not see it there"


@needs_namespaces
def test_what_is_written_there_is_in_the_folder(corpus: Path, tmp_path: Path) -> None:
    see(mounts((corpus, tmp_path / "data")), f"echo more > {tmp_path}/data/part-1")
    assert (corpus / "part-1").read_text() == "more\n"


@needs_namespaces
def test_read_only_is_read_only_down_to_what_is_mounted_further_down(corpus: Path, tmp_path: Path) -> None:
    data, inner = tmp_path / "data", tmp_path / "inner"
    inner.mkdir()
    (corpus / "sub dir").mkdir()
    # The inner one is mounted into the corpus first, so that it comes with the corpus and has to become read only, too.
    wanted = mounts((inner, corpus / "sub dir"), (corpus, data, True))
    said = see(wanted, f"touch {data}/new || echo no; touch '{data}/sub dir/new' || echo no; cat {data}/part-0")
    assert said == "no\nno\ntokens\n"
    assert not (corpus / "new").exists()
    assert not (inner / "new").exists()


@needs_namespaces
def test_a_folder_stays_reachable_under_a_target_that_hides_it(corpus: Path, tmp_path: Path) -> None:
    """``/a`` covers the folder that ``/b`` shows: both are taken as they were on the node."""
    other = tmp_path / "other"
    other.mkdir()
    hidden = tmp_path / "hidden"
    (hidden / "deep").mkdir(parents=True)
    (hidden / "deep" / "file").write_text("deep\n")
    wanted = mounts((other, hidden), (hidden / "deep", tmp_path / "shown"))
    assert see(wanted, f"ls {hidden}; cat {tmp_path}/shown/file") == "deep\n"


@needs_namespaces
def test_one_target_within_another(corpus: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    wanted = mounts((corpus, tmp_path / "data"), (scratch, tmp_path / "data" / "scratch"))
    assert see(wanted, f"touch {tmp_path}/data/scratch/x; ls {tmp_path}/data") == "part-0\nscratch\n"
    assert [each.name for each in scratch.iterdir()] == ["x"]


@needs_namespaces
@needs_root
def test_somebody_who_is_not_root_mounts_in_a_user_namespace_and_stays_who_he_is() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        corpus, target = Path(folder) / "corpus", Path(folder) / "data"
        corpus.mkdir()
        target.mkdir()
        (corpus / "part-0").write_text("tokens\n")
        member = mounts((corpus, target, True))
        code = _in_child(lambda: Mounts(member).enter(), uid=NOBODY)
        if code != 0:
            pytest.skip(f"user namespaces cannot be made here: {os.strerror(code)}")
        script = f"id -u; cat {target}/part-0; touch {target}/new || echo no"
        assert see(member, script, uid=NOBODY) == f"{NOBODY}\ntokens\nno\n"


def test_what_is_at_its_own_path_needs_no_mount(corpus: Path) -> None:
    assert Mounts(mounts((corpus, corpus))).asked == []
    assert len(Mounts(mounts((corpus, corpus, True))).asked) == 1
    assert Mounts({}).asked == []


def test_a_folder_that_is_not_there_is_named(corpus: Path, tmp_path: Path) -> None:
    assert missing(mounts((corpus, tmp_path / "data"))) == ""
    absent = missing(mounts((tmp_path / "gone", tmp_path / "data")))
    assert absent == f"the folder {tmp_path}/gone, which it mounts at {tmp_path}/data, does not exist on this node"
    assert "is not a folder" in missing(mounts((corpus / "part-0", tmp_path / "data")))


@needs_namespaces
def test_a_process_joins_what_another_one_sees(corpus: Path, tmp_path: Path) -> None:
    ready, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        asked = Mounts(mounts((corpus, tmp_path / "data")))
        asked.enter()
        asked.bind(0)
        os.write(write, b"x")
        signal.pause()
    assert os.read(ready, 1) == b"x"
    try:

        def act() -> None:
            join(pid)
            assert os.listdir(tmp_path / "data") == ["part-0"]

        assert _in_child(act) == 0
        assert os.listdir(tmp_path / "data") == []
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
