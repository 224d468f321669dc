"""Facts of forgotten members take no space and no time; all others stay, at their offsets."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampacity.drivers.local.driver import FORGET_TOGETHER, LocalDriver
from ampacity.drivers.local.facts_file import FactsFile
from ampacity.drivers.supervisor import holes
from ampacity.model.attempt import Cause, CauseKind, MemberExited, MemberStarted
from ampacity.model.codec import to_plain
from ampacity.model.ids import AttemptId, MemberKey


def key_of(number: int) -> MemberKey:
    return MemberKey(attempt=AttemptId(f"w{number}.0.1"), member=0, epoch=1)


def facts_of(number: int) -> list[MemberStarted | MemberExited]:
    cause = Cause(kind=CauseKind.EXIT, exit_code=1, last_lines=("x" * 100,) * (number % 5))
    return [MemberStarted(key=key_of(number), at=1.0), MemberExited(key=key_of(number), at=2.0, cause=cause)]


def filled(path: Path, numbers: range) -> FactsFile:
    file = FactsFile(str(path))
    for number in numbers:
        for fact in facts_of(number):
            file.append(fact)
    return file


def read_all(file: FactsFile, cursor: str | None = None) -> list:
    return list(file.page(cursor, 10**6).facts)


def consume(file: FactsFile) -> str:
    """As the control plane does: read to the end, and come back with the cursor."""
    cursor = file.page(None, 10**6).cursor
    file.page(cursor, 1)
    return cursor


def taken_bytes(path: Path) -> int:
    return path.stat().st_blocks * 512


@settings(max_examples=30, deadline=None)
@given(forgotten=st.sets(st.integers(0, 59)), again=st.sets(st.integers(0, 59)))
def test_exactly_the_facts_of_forgotten_members_are_gone(tmp_path_factory, forgotten, again):
    path = tmp_path_factory.mktemp("facts") / "facts.jsonl"
    file = filled(path, range(60))
    cursor = consume(file)
    size = path.stat().st_size
    for gone in (forgotten, forgotten | again):
        names = {str(key_of(number)) for number in gone}
        assert file.drop(names.__contains__) == 2 * (60 - len(gone))
        expected = [fact for number in range(60) if number not in gone for fact in facts_of(number)]
        assert read_all(file) == expected
        assert all(file.has_exit(key_of(number)) is (number not in gone) for number in range(60))
    assert path.stat().st_size == size
    assert read_all(file, cursor) == []
    file.append(facts_of(100)[0])
    assert read_all(file, cursor) == [facts_of(100)[0]]
    file.close()
    opened = FactsFile(str(path))
    assert read_all(opened) == [*expected, facts_of(100)[0]]
    opened.close()


def test_what_nobody_has_read_on_behind_stays(tmp_path):
    file = filled(tmp_path / "facts.jsonl", range(10))
    assert file.drop(lambda _: True) == 0
    assert len(read_all(file)) == 20
    first = file.page(None, 6)
    file.page(first.cursor, 1)
    file.drop(lambda _: True)
    assert read_all(file) == [fact for number in range(3, 10) for fact in facts_of(number)]
    file.close()


def test_torn_lines_are_dropped_with_the_rest(tmp_path):
    path = tmp_path / "facts.jsonl"
    file = filled(path, range(3))
    path.write_bytes(path.read_bytes() + b'{"fact": "torn\n\n\xff\xfe\n')
    for fact in facts_of(3):
        file.append(fact)
    consume(file)
    file.drop(lambda member: member != str(key_of(3)))
    assert read_all(file) == facts_of(3)
    file.close()


def test_where_no_holes_can_be_made_the_beginning_is_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(holes, "_fallocate", lambda *_: -1)
    monkeypatch.setattr(holes, "_errno", lambda: 95)
    path = tmp_path / "facts.jsonl"
    file = filled(path, range(20))
    consume(file)
    gone = {str(key_of(number)) for number in (*range(12), 15)}
    file.drop(gone.__contains__)
    expected = [fact for number in (12, 13, 14, 15, 16, 17, 18, 19) for fact in facts_of(number)]
    assert read_all(file) == expected
    file.close()
    opened = FactsFile(str(path))
    assert read_all(opened) == expected
    opened.close()
    path.with_name("facts.jsonl.old").write_bytes(path.read_bytes())
    path.with_name("facts.jsonl.old").replace(path)
    other = FactsFile(str(path))
    assert len(read_all(other)) == 40  # it is another file: what was remembered is not of this one
    other.close()


def test_a_hundred_thousand_forgotten_members_leave_nothing_to_read(tmp_path, monkeypatch):
    path = tmp_path / "facts.jsonl"
    lines = b"".join(
        json.dumps({"fact": "member_started", "key": to_plain(key_of(number)), "at": 1.0}).encode() + b"\n"
        for number in range(100_000)
    )
    path.write_bytes(lines)
    file = FactsFile(str(path))
    for fact in facts_of(100_000):
        file.append(fact)
    begin = file.page(None, 0).cursor
    file.page(f"{begin.rpartition(':')[0]}:{path.stat().st_size}", 1)
    file.drop(lambda member: member != str(key_of(100_000)))
    file.close()
    assert taken_bytes(path) <= 1 << 19
    read = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: read.append(data := pread(fd, size, offset)) or data)
    opened = FactsFile(str(path))
    assert opened.has_exit(key_of(100_000))
    assert read_all(opened) == facts_of(100_000)
    assert sum(map(len, read)) < 1 << 15
    opened.close()


@pytest.fixture
def ended(tmp_path):
    """A driver's folder in which many members have ended, and the driver."""
    folder = tmp_path / "local"
    members = folder / "members"
    members.mkdir(parents=True)
    file = filled(folder / "facts.jsonl", range(FORGET_TOGETHER + 10))
    file.close()
    for number in range(FORGET_TOGETHER + 10):
        key = key_of(number)
        (members / str(key)).mkdir()
        (members / str(key) / "member.json").write_text(json.dumps({"format": 1, **to_plain(key)}))
        (members / str(key) / "exit.json").write_text(json.dumps({"format": 1, "at": 2.0, "cause": {"kind": "exit"}}))
    driver = LocalDriver(folder)
    yield driver
    driver.close()


def test_forgetting_many_frees_their_facts(ended):
    path = ended._folder / "facts.jsonl"
    ended.facts(ended.facts(None, limit=10**6).cursor)
    for number in range(FORGET_TOGETHER + 5):
        ended.forget(key_of(number))
        ended.forget(key_of(number))
    left = {fact.key for fact in ended.facts(None, limit=10**6).facts}
    assert left == {key_of(number) for number in range(FORGET_TOGETHER, FORGET_TOGETHER + 10)}
    assert sorted(os.listdir(ended._folder / "members")) == sorted(
        str(key_of(number)) for number in range(FORGET_TOGETHER + 5, FORGET_TOGETHER + 10)
    )
    assert os.listdir(ended._folder / "forgotten") == []
    assert path.stat().st_size > 50_000
    assert holes.data_from(ended._facts._fd, 0) > 100_000


def test_killed_while_forgetting_the_next_driver_finishes_it(ended):
    folder = ended._folder
    (folder / "members" / str(key_of(0))).rename(folder / "forgotten" / "w0.0.1-0.abc")
    again = LocalDriver(folder)
    assert os.listdir(folder / "forgotten") == []
    again.forget(key_of(0))
    assert len(again.facts(None, limit=10**6).facts) == 2 * (FORGET_TOGETHER + 10)
    again.close()
