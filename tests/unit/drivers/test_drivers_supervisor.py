"""The supervisor's pieces: causes, the format on disk as the codec reads it, processes, and its independence."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ampacity.drivers import supervisor
from ampacity.drivers.local.facts_file import FactsFile
from ampacity.drivers.supervisor import causes, ports
from ampacity.drivers.supervisor.cgroup import Cgroup
from ampacity.drivers.supervisor.disk import (
    EXIT_RESERVE_BYTES,
    Syncing,
    append_fact,
    read_json,
    reserve,
    trim,
    write_json,
)
from ampacity.drivers.supervisor.processes import boot_id, descendants, is_process, marked, start_ticks
from ampacity.model.attempt import (
    Cause,
    CauseKind,
    IncarnationBegan,
    MemberExited,
    MemberPreparing,
    MemberStarted,
    Progress,
    ProgressReported,
)
from ampacity.model.codec import decode_fact, encode_fact, from_plain, to_plain
from ampacity.model.ids import AttemptId, MemberKey

KEY = MemberKey(attempt=AttemptId("w1.0.1"), member=0, epoch=1)


class SomewhereKills(causes.Kills):
    """The machine's counter grew: something was killed somewhere."""

    def __init__(self) -> None:
        super().__init__(Cgroup({}))

    def happened(self) -> bool:
        return True


def status(*, code: int = 0, signum: int = 0) -> int:
    return code << 8 | signum


@pytest.mark.parametrize(
    ("given_status", "more", "kind", "said"),
    [
        (status(), {}, CauseKind.COMPLETED, ""),
        (status(), {"lost_lines": 3}, CauseKind.COMPLETED, "3 lines"),
        (status(code=3), {}, CauseKind.EXIT, "exit code 3"),
        (status(code=127), {}, CauseKind.EXIT, "did not find"),
        (status(code=126), {}, CauseKind.EXIT, "could not run"),
        (status(code=139), {}, CauseKind.EXIT, "SIGSEGV"),
        (status(signum=11), {}, CauseKind.SIGNAL, "SIGSEGV"),
        (status(signum=9), {}, CauseKind.SIGNAL, "not sent by Ampacity"),
        (status(signum=9), {"kills": SomewhereKills()}, CauseKind.OUT_OF_MEMORY, "on this node"),
        (status(code=137), {"kills": SomewhereKills()}, CauseKind.OUT_OF_MEMORY, "memory"),
        (status(code=1), {"kills": SomewhereKills()}, CauseKind.EXIT, "exit code 1"),
        (status(code=1), {"lost_lines": 1, "full_disk": "/"}, CauseKind.DISK_FULL, "1 lines"),
        (status(code=1), {"full_disk": "/"}, CauseKind.DISK_FULL, "the disk under / is full ("),
        (status(), {"full_disk": "/"}, CauseKind.COMPLETED, ""),
        (status(code=1), {"lost_lines": 1}, CauseKind.EXIT, "exit code 1"),
        (status(code=2), {"setup": True}, CauseKind.SETUP_FAILED, "exit code 2"),
        (status(signum=15), {"setup": True}, CauseKind.SETUP_FAILED, "SIGTERM"),
    ],
)
def test_a_status_becomes_a_cause(given_status, more, kind, said):
    plain = causes.of_status(given_status, **{"setup": False, "kills": causes.Kills(Cgroup({})), **more})
    cause = from_plain({**plain, "last_lines": []}, Cause)
    assert cause.kind is kind
    assert said in cause.message


def test_a_rank_that_the_kernel_killed_for_want_of_memory_is_told_from_one_that_somebody_killed():
    report = {"kind": "signal", "exit_code": None, "signal": 9, "rank": 3, "message": "ended by SIGKILL"}
    found = causes.of_agent(report, SomewhereKills())
    assert found is not None
    assert (found["kind"], found["rank"], found["signal"]) == ("out_of_memory", 3, 9)
    assert "resources.memory" in found["message"]
    assert causes.of_agent(report, causes.Kills(Cgroup({}))) == report
    crashed = {**report, "signal": 11}
    assert causes.of_agent(crashed, SomewhereKills()) == crashed


def test_the_supervisor_and_the_model_know_the_same_kinds_of_causes():
    assert set(causes.KINDS) == {kind.value for kind in CauseKind}


def test_a_file_that_cannot_be_made_durable_is_told_to_who_waits(tmp_path):
    (tmp_path / "member.json").write_text("{}")
    Syncing(str(tmp_path / "member.json")).wait()
    gone = Syncing(str(tmp_path / "gone.json"))
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            gone.wait()


def test_what_was_reserved_for_the_exit_is_given_back(tmp_path):
    path = str(tmp_path / "exit.json")
    scratch = reserve(path)
    assert os.stat(scratch).st_blocks * 512 >= EXIT_RESERVE_BYTES
    write_json(path, {"at": 1.0}, scratch=scratch)
    assert read_json(path) == {"at": 1.0}
    trim(path)
    assert os.stat(path).st_blocks * 512 <= 4096
    assert not os.path.exists(scratch)


def test_facts_as_the_supervisor_writes_them_are_those_that_the_codec_reads(tmp_path):
    path = str(tmp_path / "facts.jsonl")
    key = to_plain(KEY)
    cause = {**causes.cause("exit", "exit code 3", exit_code=3), "last_lines": ["ünü"]}
    append_fact(path, {"fact": "member_preparing", "key": key, "at": 1.0})
    append_fact(path, {"fact": "member_started", "key": key, "at": 2.0, "endpoint": "127.0.0.1:80"})
    append_fact(path, {"fact": "member_exited", "key": key, "at": 3.0, "cause": cause})
    assert [decode_fact(line) for line in Path(path).read_bytes().splitlines()] == [
        MemberPreparing(key=KEY, at=1.0),
        MemberStarted(key=KEY, at=2.0, endpoint="127.0.0.1:80"),
        MemberExited(
            key=KEY,
            at=3.0,
            cause=Cause(kind=CauseKind.EXIT, exit_code=3, message="exit code 3", last_lines=("ünü",)),
        ),
    ]


def test_every_fact_goes_through_the_file_unchanged(tmp_path):
    facts = [
        IncarnationBegan(key=KEY, at=1.0, incarnation=2, cause=Cause(kind=CauseKind.SIGNAL, signal=9, rank=1)),
        ProgressReported(key=KEY, at=2.0, progress=Progress(at=2.0, step=7, loss=0.5, tokens=9)),
        MemberExited(key=KEY, at=3.0, cause=Cause(kind=CauseKind.COMPLETED)),
    ]
    file = FactsFile(str(tmp_path / "facts.jsonl"))
    assert not file.has_exit(KEY)
    for fact in facts:
        file.append(fact)
    assert list(file.page(None, 10).facts) == facts
    assert file.has_exit(KEY)
    assert [json.loads(line) for line in Path(file.path).read_bytes().splitlines()] == [
        json.loads(encode_fact(fact)) for fact in facts
    ]
    file.close()


def test_a_fact_after_a_torn_line_is_not_lost_and_a_half_line_is_not_read(tmp_path):
    path = tmp_path / "facts.jsonl"
    file = FactsFile(str(path))
    path.write_bytes(b'{"fact": "memb')
    page = file.page(None, 10)
    assert page.facts == ()
    file.append(MemberPreparing(key=KEY, at=1.0))
    assert file.page(page.cursor, 10).facts == (MemberPreparing(key=KEY, at=1.0),)
    file.close()


def test_a_limit_of_facts_is_kept_and_the_cursor_stands_behind_the_last(tmp_path):
    file = FactsFile(str(tmp_path / "facts.jsonl"))
    facts = [MemberPreparing(key=KEY, at=float(at)) for at in range(5)]
    for fact in facts:
        file.append(fact)
    first = file.page(None, 2)
    assert list(first.facts) == facts[:2]
    assert list(file.page(first.cursor, 100).facts) == facts[2:]
    file.close()


def test_whole_files_are_replaced_and_torn_ones_read_as_absent(tmp_path):
    path = str(tmp_path / "exit.json")
    assert read_json(path) is None
    write_json(path, {"long": "x" * 1000}, scratch=reserve(path))
    write_json(path, {"a": 1}, scratch=reserve(path))
    assert read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["exit.json"]
    Path(path).write_text('{"a": ')
    assert read_json(path) is None
    Path(path).write_text("[1]")
    assert read_json(path) is None


def test_processes_are_known_by_more_than_their_pid():
    command = ["sh", "-c", "echo up; exec sleep 100"]
    env = {**os.environ, "AMPACITY_MEMBER": "test.0.1-7"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        started = start_ticks(child.pid)
        assert started is not None
        assert is_process(child.pid, started, boot_id())
        assert not is_process(child.pid, started + 1, boot_id())
        assert not is_process(child.pid, started, "another boot")
        deadline = time.monotonic() + 120
        while marked("test.0.1-7") != {child.pid}:
            assert time.monotonic() < deadline
        assert marked("test.0.1-") == set()
        assert child.pid in descendants(os.getpid())
        child.kill()
    assert start_ticks(child.pid) is None
    assert child.pid not in descendants(os.getpid())


def test_two_holders_never_get_the_same_port(tmp_path):
    held = [ports.take(str(tmp_path / "ports")) for _ in range(20)]
    assert len({port for port, _ in held}) == 20
    for _, fd in held:
        os.close(fd)


def test_the_supervisor_needs_the_standard_library_only_and_little_of_it():
    folder = Path(supervisor.__file__).parent
    script = (
        "import sys; sys.path.append(sys.argv[1]); import supervisor.parent, supervisor.prctl; "
        "supervisor.prctl.load(); print('\\n'.join(sys.modules))"
    )
    command = [sys.executable, "-I", "-S", "-c", script, str(folder.parent)]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert not {name for name in loaded if name.startswith("ampacity")}
    assert not loaded & {"subprocess", "threading", "asyncio", "typing", "logging", "dataclasses", "inspect", "pathlib"}
