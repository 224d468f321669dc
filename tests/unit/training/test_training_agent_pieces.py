"""The agent's pieces by themselves: lines of output, commands, its inbox, and what a full disk does to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampacity.training.agent import lines, ranks
from ampacity.training.agent.config import Config
from ampacity.training.agent.gang import Inbox, NotWanted, Wanted, Wire, _listen, host_gang, join_gang
from ampacity.training.agent.reports import Facts, Output, ProgressTail


def config(folder: Path, **more: object) -> Config:
    values: dict[str, object] = {
        "command": "true",
        "nnodes": 2,
        "node_rank": 0,
        "ranks_per_node": 1,
        "rendezvous": str(folder / "rendezvous"),
        "master_addr": "127.0.0.1",
        "max_restarts": 0,
        "grace_s": 1.0,
        "checkpoint_dir": "",
        "checkpoint_every_s": None,
        "member_dir": str(folder),
        "facts": str(folder / "facts.jsonl"),
        "key": {"attempt": "w.0.1", "member": 0, "epoch": 1},
    }
    return Config(**{**values, **more})  # type: ignore[arg-type]


def read_lines(data: bytes) -> list[bytes]:
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    found = list(lines.lines_of(reading))
    writer.join()
    os.close(reading)
    return found


def test_of_a_progress_bar_the_last_state_is_a_line() -> None:
    assert read_lines(b"10%\r20%\r100%\r\nplain\r\nlast\r") == [b"100%", b"plain", b"last"]


def test_long_lines_are_split_where_no_character_is_cut() -> None:
    text = ("x" + "\u20ac" * lines.LINE_BYTES).encode()
    found = read_lines(text + b"\nend")
    assert b"".join(found[:-1]) == text
    assert max(len(line) for line in found) <= lines.LINE_BYTES
    assert all(line.decode() for line in found)


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=40), max_size=20))
def test_every_line_arrives_as_it_was_printed(texts: list[str]) -> None:
    assert read_lines("".join(text + "\n" for text in texts).encode()) == [text.encode() for text in texts]


@pytest.mark.parametrize(
    ("command", "run"),
    [
        ("python train.py --lr 1", "exec python train.py --lr 1"),
        ("  python train.py\n", "exec python train.py"),
        ("exec python t.py", "exec python t.py"),
        ("LR=1 python t.py", "LR=1 python t.py"),
        ("cd x && python t.py", "cd x && python t.py"),
        ("cd x\npython t.py", "cd x\npython t.py"),
        ("ulimit -n 100", "ulimit -n 100"),
        ("python t.py > log", "python t.py > log"),
        ("python t.py # why", "python t.py # why"),
    ],
)
def test_a_single_command_takes_the_place_of_its_shell(command: str, run: str) -> None:
    assert ranks._exec(command) == run


def test_signals_reach_the_inbox_while_it_is_waited_for() -> None:
    inbox, main = Inbox(), threading.get_ident()
    before = signal.signal(signal.SIGUSR1, lambda *_: inbox.put(0, {"type": "terminate"}))
    try:
        for _ in range(200):
            sender = threading.Thread(target=signal.pthread_kill, args=(main, signal.SIGUSR1))
            sender.start()
            assert inbox.get() == (0, {"type": "terminate"})
            sender.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("meet", [host_gang, join_gang])
def test_who_is_told_to_end_does_not_wait_for_the_others(tmp_path: Path, meet: object) -> None:
    wanted = Wanted()
    wanted.still = False
    with pytest.raises(NotWanted):
        meet(config(tmp_path), Inbox(), wanted)  # type: ignore[operator]


def test_a_gang_on_one_machine_is_not_to_be_reached_from_others() -> None:
    with _listen("127.0.0.1") as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_peer_that_speaks_nonsense_counts_as_lost() -> None:
    ours, theirs = socket.socketpair()
    listener = socket.create_server(("127.0.0.1", 0))
    theirs.close()
    ours.close()
    theirs = socket.create_connection(listener.getsockname())
    ours, _ = listener.accept()
    inbox = Inbox()
    Wire(ours, 1, inbox)
    theirs.sendall(b"no json\n")
    assert inbox.get() == (1, {"type": "lost"})
    for each in (ours, theirs, listener):
        each.close()


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """A folder whose log is a disk that is always full."""
    (tmp_path / "output.log").symlink_to("/dev/full")
    return tmp_path


def test_a_full_disk_loses_lines_and_facts_but_no_thread(full: Path) -> None:
    output = Output(config(full))
    output.line(0, "out", b"lost")
    Facts(config(full, facts="/dev/full"), output).progress({"at": 1.0, "step": 1})
    os.close(output._fd)
    (full / "output.log").unlink()
    output._fd = os.open(full / "output.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    output.line(0, "out", b"again")
    texts = [line.split(" ", 3)[3] for line in (full / "output.log").read_text().splitlines()]
    assert texts == ["2 lines of output were lost: the disk was full", "again"]
    os.close(output._fd)


def test_only_news_of_progress_become_facts(tmp_path: Path) -> None:
    told = config(tmp_path)
    (tmp_path / "progress").mkdir()
    path = tmp_path / "progress" / "rank-0.jsonl"
    tail = ProgressTail(told, Facts(told, Output(told)))

    def after(*added: str) -> list[dict[str, object]]:
        with path.open("a") as file:
            file.write("".join(line + "\n" for line in added))
        tail.look()
        facts = tmp_path / "facts.jsonl"
        return [json.loads(line)["progress"] for line in facts.read_text().splitlines()] if facts.exists() else []

    assert after("{torn", "[]", '{"at": 1}', '{"at": "x", "step": 1}', '{"at": NaN, "step": 1}') == []
    first = {"at": 1.0, "step": 3, "loss": None, "tokens": None}
    assert after('{"at": 1.0, "step": 3, "loss": NaN}') == [first]
    checkpoint = {"checkpoint_step": 3, "checkpoint_path": "/c/3", "checkpoint_at": 2.0}
    assert after('{"at": 2.0, "step": 3, "checkpoint": "/c/3"}') == [first, {**first, **checkpoint}]
    assert len(after()) == 2
