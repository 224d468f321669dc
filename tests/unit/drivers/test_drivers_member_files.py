"""A member's files: read and written in parts; and no path that leads out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampacity.drivers.base import FileKind
from ampacity.drivers.local.member_files import LocalMemberFiles
from ampacity.model.errors import AmpacityError, Conflict, Forbidden, InvalidSpec, NotFound


@pytest.fixture
def files(tmp_path: Path) -> LocalMemberFiles:
    work, private, outside = tmp_path / "work", tmp_path / "private", tmp_path / "outside"
    for folder in (work / "sub", private / "secrets", outside):
        folder.mkdir(parents=True)
    (work / "sub" / "a").write_bytes(b"0123456789")
    (work / "inner").symlink_to("sub")
    (work / "out").symlink_to(outside)
    (work / "out-file").symlink_to(outside / "token")
    (work / "absolute").symlink_to("/etc")
    (outside / "token").write_bytes(b"outside")
    (private / "output.log").write_bytes(b"log")
    (private / "secrets" / "KEY").write_bytes(b"secret")
    os.mkfifo(work / "pipe")
    return LocalMemberFiles(str(work), str(private))


def test_files_are_read_in_parts(files: LocalMemberFiles) -> None:
    entry = files.entry("sub/a")
    assert (entry.name, entry.kind, entry.size_bytes) == ("a", FileKind.FILE, 10)
    assert files.read("sub/a", offset=3, limit=4) == b"3456"
    assert files.read("sub/a", offset=10, limit=4) == b""
    assert files.read("inner/a", offset=0, limit=2) == b"01"
    assert files.read("{member_dir}/output.log", offset=0, limit=9) == b"log"
    assert files.read("./sub/../sub/a", offset=0, limit=1, version=entry.version) == b"0"
    with pytest.raises(Conflict, match="has changed"):
        files.read("sub/a", offset=0, limit=1, version="another")


def test_folders_are_listed_page_by_page(files: LocalMemberFiles) -> None:
    names = ["absolute", "inner", "out", "out-file", "pipe", "sub"]
    kinds = {entry.name: entry.kind for entry in files.entries(".", limit=100)}
    assert list(kinds) == names
    assert {name for name, kind in kinds.items() if kind is FileKind.LINK} == set(names) - {"pipe", "sub"}
    assert [entry.name for entry in files.entries("", limit=2, after="inner")] == ["out", "out-file"]
    assert [entry.name for entry in files.entries("{member_dir}", limit=9)] == ["output.log"]


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../outside/token",
        "sub/../../outside/token",
        "/etc/passwd",
        "out/token",
        "out-file",
        "absolute/passwd",
        "{member_dir}/../outside/token",
        "{member_dir}/secrets/KEY",
        "{member_dir}/secrets",
        "../private/secrets/KEY",
    ],
)
def test_nothing_leads_out(files: LocalMemberFiles, tmp_path: Path, path: str) -> None:
    for ask in (
        lambda: files.read(path, offset=0, limit=9),
        lambda: files.entry(path),
        lambda: files.entries(path, limit=9),
        lambda: files.write(path, b"x", offset=0, size=1, mode=0o600),
    ):
        with pytest.raises(Forbidden):
            ask()
    assert (tmp_path / "outside" / "token").read_bytes() == b"outside"


@pytest.mark.parametrize("path", ["none", "sub/a/b", "pipe", "sub"])
def test_what_is_no_file_is_not_found(files: LocalMemberFiles, path: str) -> None:
    with pytest.raises(NotFound):
        files.read(path, offset=0, limit=1)


def test_a_file_is_there_when_all_of_it_is(files: LocalMemberFiles, tmp_path: Path) -> None:
    target = tmp_path / "work" / "new" / "deep" / "b"
    assert files.write("new/deep/b", b"abc", offset=0, size=6, mode=0o755) == 3
    assert not target.exists()
    with pytest.raises(Conflict, match="only 3 bytes"):
        files.write("new/deep/b", b"f", offset=5, size=6, mode=0o755)
    assert files.write("new/deep/b", b"bcde", offset=1, size=6, mode=0o755) == 5
    assert files.write("new/deep/b", b"f", offset=5, size=6, mode=0o755) == 6
    assert target.read_bytes() == b"abcdef"
    assert target.stat().st_mode & 0o777 == 0o755
    assert os.listdir(target.parent) == ["b"]
    assert files.write("sub/a", b"", offset=0, size=0, mode=0o600) == 0
    assert (tmp_path / "work" / "sub" / "a").read_bytes() == b""


def test_a_write_that_cannot_be_is_refused(files: LocalMemberFiles) -> None:
    for path, error in (("sub", Conflict), ("{member_dir}/x", Forbidden), ("", InvalidSpec), ("sub/a/b", NotFound)):
        with pytest.raises(error):
            files.write(path, b"x", offset=0, size=1, mode=0o600)
    with pytest.raises(InvalidSpec, match="announced"):
        files.write("x", b"xx", offset=0, size=1, mode=0o600)
    with pytest.raises(InvalidSpec, match="zero byte"):
        files.write("x\0y", b"xx", offset=0, size=2, mode=0o600)


def test_a_link_that_is_put_in_the_way_meanwhile_is_not_followed(
    files: LocalMemberFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path was resolved, and then its folder became a link to the outside."""
    work = tmp_path / "work"
    resolve = os.path.realpath

    def exchanged(path: str) -> str:
        found = resolve(path)
        (work / "sub").rename(work / "was-sub")
        (work / "sub").symlink_to(tmp_path / "outside")
        return found

    monkeypatch.setattr("ampacity.drivers.local.member_files.os.path.realpath", exchanged)
    with pytest.raises(NotFound):
        files.read("sub/token", offset=0, limit=9)


parts = st.sampled_from([".", "..", "", "a", "sub", "{member_dir}", "\0", "x" * 300])


@given(st.lists(parts, max_size=6).map("/".join))
def test_any_path_is_answered_or_refused(path: str) -> None:
    files = LocalMemberFiles("/nonexistent/work", "/nonexistent/private")
    with pytest.raises(AmpacityError):
        files.read(path, offset=0, limit=1)
