"""Real agents over small ranks, without a control plane: gangs, restarts in place, and ends with their causes."""

from __future__ import annotations

import ast
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ampacity.model.attempt import CauseKind, IncarnationBegan, ProgressReported
from ampacity.model.codec import decode_fact
from ampacity.training.launch import AGENT


class Gang:
    """Agents of one gang on this machine, a folder each."""

    def __init__(
        self,
        folder: Path,
        command: str,
        *,
        nodes: int = 1,
        ranks: int = 2,
        restarts: int | None = 2,
        present: int | None = None,
    ) -> None:
        self.folder, self.nodes = folder, nodes
        self.facts_file = folder / "facts.jsonl"
        present = nodes if present is None else present
        self.agents = [self._start(command, node, ranks, restarts) for node in range(present)]

    def _start(self, command: str, node: int, ranks: int, restarts: int | None) -> subprocess.Popen[bytes]:
        member = self.member(node)
        member.mkdir()
        config = {
            "format": 1,
            "command": command,
            "nnodes": self.nodes,
            "node_rank": node,
            "ranks_per_node": ranks,
            "rendezvous": str(self.folder / "gang" / "rendezvous"),
            "master_addr": "127.0.0.1",
            "max_restarts": restarts,
            "grace_s": 2.0,
            "checkpoint_dir": str(self.folder / "checkpoints"),
            "checkpoint_every_s": 30.0,
        }
        (member / "agent.json").write_text(json.dumps(config))
        env = {
            **os.environ,
            "AMPACITY_MEMBER": f"w.0.1-{node}",
            "AMPACITY_MEMBER_DIR": str(member),
            "AMPACITY_FACTS": str(self.facts_file),
        }
        return subprocess.Popen([sys.executable, "-I", str(AGENT), str(member / "agent.json")], env=env)

    def member(self, node: int) -> Path:
        return self.folder / f"member-{node}"

    def wait(self) -> list[int]:
        return [agent.wait(120) for agent in self.agents]

    def lines(self, node: int = 0) -> list[tuple[str, str, str]]:
        """Rank, stream and text of each line that was printed."""
        path = self.member(node) / "output.log"
        if not path.exists():
            return []
        parts = [line.split(" ", 3) for line in path.read_text(errors="surrogateescape").splitlines()]
        return [(part[1], part[2], part[3]) for part in parts]

    def texts(self) -> list[str]:
        return [text for node in range(self.nodes) for rank, _, text in self.lines(node) if rank != "-"]

    def facts(self) -> list[object]:
        return (
            [decode_fact(line) for line in self.facts_file.read_bytes().splitlines()]
            if self.facts_file.exists()
            else []
        )

    def restarts(self) -> list[IncarnationBegan]:
        return [fact for fact in self.facts() if isinstance(fact, IncarnationBegan)]

    def cause(self, node: int = 0) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.member(node) / "cause.json").read_text())
        return found

    def ranks(self, **environment: str) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                values = process.environ()
            except psutil.Error:
                continue
            ours = values.get("AMPACITY_MEMBER_DIR", "").startswith(str(self.folder)) and "RANK" in values
            if ours and all(values.get(name) == value for name, value in environment.items()):
                found.append(process)
        return found

    def end(self) -> None:
        for agent in self.agents:
            if agent.poll() is None:
                agent.kill()
                agent.wait()
        try:
            eventually(lambda: not self.ranks(), "the end of every rank", limit_s=5.0)
        finally:
            for process in self.ranks():
                process.kill()


MakeGang = Callable[..., Gang]


@pytest.fixture
def gang(tmp_path: Path) -> Iterator[MakeGang]:
    made: list[Gang] = []

    def make(command: str, **more: object) -> Gang:
        made.append(Gang(tmp_path, command, **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for each in made:
        each.end()


def eventually(true: Callable[[], object], what: str, limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.02)


WAIT = "while [ ! -e {go} ]; do sleep 0.05; done"


def test_every_rank_has_the_standard_environment(gang: MakeGang) -> None:
    names = "RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE NODE_RANK GROUP_RANK AMPACITY_INCARNATION OMP_NUM_THREADS"
    shown = " ".join(f"${name}" for name in names.split())
    found = gang(f"echo {shown} $MASTER_ADDR $AMPACITY_CHECKPOINT_EVERY_S", nodes=2, ranks=2)
    assert found.wait() == [0, 0]
    assert sorted(found.texts()) == [
        "0 4 0 2 0 0 0 1 127.0.0.1 30.0",
        "1 4 1 2 0 0 0 1 127.0.0.1 30.0",
        "2 4 0 2 1 1 0 1 127.0.0.1 30.0",
        "3 4 1 2 1 1 0 1 127.0.0.1 30.0",
    ]
    assert found.facts() == []


def test_lines_carry_rank_and_stream_whatever_is_in_them(gang: MakeGang, tmp_path: Path) -> None:
    found = gang(r"printf 'a\nb\377c\n'; printf 'no end'; echo err >&2", ranks=1)
    assert found.wait() == [0]
    assert sorted(found.lines()) == [
        ("0", "err", "err"),
        ("0", "out", "a"),
        ("0", "out", "b\ufffdc"),
        ("0", "out", "no end"),
    ]


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_killed_rank_restarts_the_whole_gang_in_place(gang: MakeGang, tmp_path: Path, nodes: int) -> None:
    go = tmp_path / "go"
    found = gang(f"echo $RANK $AMPACITY_INCARNATION $MASTER_PORT; {WAIT.format(go=go)}", nodes=nodes, ranks=2)
    eventually(lambda: len(found.texts()) == 2 * nodes, "the first incarnation")
    (victim,) = found.ranks(RANK="1", LOCAL_RANK="1", NODE_RANK="0")[:1]
    victim.kill()
    eventually(lambda: len(found.texts()) == 4 * nodes, "the second incarnation")
    assert not found.ranks(AMPACITY_INCARNATION="0")
    go.touch()
    assert found.wait() == [0] * nodes
    lines = [text.split() for text in found.texts()]
    assert sorted((int(rank), int(incarnation)) for rank, incarnation, _ in lines) == sorted(
        (rank, incarnation) for rank in range(2 * nodes) for incarnation in (0, 1)
    )
    ports = {incarnation: {port for _, i, port in lines if i == incarnation} for incarnation in "01"}
    assert len(ports["0"]) == len(ports["1"]) == 1
    (began,) = found.restarts()
    assert (began.incarnation, began.cause.kind, began.cause.rank, began.cause.signal) == (1, CauseKind.SIGNAL, 1, 9)
    assert (began.key.attempt, began.key.member, began.key.epoch) == ("w.0.1", 0, 1)


def test_when_the_restarts_are_used_up_the_first_rank_that_failed_is_named(gang: MakeGang) -> None:
    found = gang("if [ $RANK = 1 ]; then exit 7; fi; sleep 60", restarts=2)
    assert found.wait() == [1]
    assert len(found.restarts()) == 2
    cause = found.cause()
    assert (cause["kind"], cause["exit_code"], cause["rank"]) == ("exit", 7, 1)
    assert cause["message"] == "rank 1 ended with exit code 7"


def test_exit_code_93_asks_for_no_other_incarnation(gang: MakeGang) -> None:
    found = gang("exit 93", ranks=1, restarts=None)
    assert found.wait() == [1]
    assert found.restarts() == []
    assert found.cause()["exit_code"] == 93


def test_sigterm_gives_the_ranks_their_grace(gang: MakeGang) -> None:
    found = gang("trap 'echo saved; exit 0' TERM; echo up; while true; do sleep 0.05; done", ranks=2)
    eventually(lambda: found.texts().count("up") == 2, "both ranks")
    found.agents[0].terminate()
    assert found.wait() == [128 + signal.SIGTERM]
    assert found.texts().count("saved") == 2
    assert found.restarts() == []


def test_who_is_asked_to_save_is_asked_through_a_file_of_rank_0s_member(gang: MakeGang) -> None:
    asked = 'test "$RANK" = 0 && { echo up; until [ -e $AMPACITY_MEMBER_DIR/save ]; do sleep 0.05; done; echo asked; }'
    found = gang(f"{asked}; exit 0", ranks=2)
    eventually(lambda: "up" in found.texts(), "rank 0")
    found.agents[0].send_signal(signal.SIGUSR1)
    assert found.wait() == [0]
    assert "asked" in found.texts()


def test_a_rank_that_ignores_sigterm_is_killed_after_the_grace(gang: MakeGang) -> None:
    found = gang("trap '' TERM; echo up; while true; do sleep 0.05; done", ranks=1)
    eventually(lambda: "up" in found.texts(), "the rank")
    found.agents[0].terminate()
    assert found.wait() == [128 + signal.SIGTERM]
    assert not found.ranks()


def test_a_killed_agent_takes_its_ranks_with_it(gang: MakeGang) -> None:
    found = gang("exec sleep 60", ranks=2)
    eventually(lambda: len(found.ranks()) == 2, "both ranks")
    found.agents[0].kill()
    eventually(lambda: not found.ranks(), "the end of the ranks")


@pytest.mark.parametrize("gone", [0, 1])
def test_when_one_agent_is_gone_the_others_end_as_interrupted(gang: MakeGang, gone: int) -> None:
    found = gang("exec sleep 60", nodes=2, ranks=1)
    eventually(lambda: len(found.ranks()) == 2, "both ranks")
    found.agents[gone].kill()
    left = 1 - gone
    assert found.agents[left].wait(120) == 1
    assert found.cause(left)["kind"] == "supervisor_died"
    assert f"node rank {gone} is gone" in str(found.cause(left)["message"])
    eventually(lambda: not found.ranks(), "the end of all ranks")


def test_nothing_of_the_old_incarnation_lives_on_beside_the_new_one(gang: MakeGang, tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = f"(setsid sh -c 'while [ ! -e {go} ]; do sleep 0.05; done' &) ; echo up; {WAIT.format(go=go)}"
    found = gang(script, ranks=1)
    eventually(lambda: len(found.ranks(AMPACITY_INCARNATION="0")) >= 2, "the rank and its helper")
    rank = min(found.ranks(AMPACITY_INCARNATION="0"), key=lambda process: process.create_time())
    rank.kill()
    eventually(lambda: len(found.texts()) == 2, "the second incarnation")
    assert found.ranks(AMPACITY_INCARNATION="0") == []
    go.touch()
    assert found.wait() == [0]


def test_a_member_that_waits_for_the_others_ends_when_it_is_told_to(gang: MakeGang, tmp_path: Path) -> None:
    found = gang("echo up", nodes=2, ranks=1, present=1)
    eventually((tmp_path / "gang" / "rendezvous").exists, "the rendezvous")
    found.agents[0].terminate()
    assert found.wait() == [128 + signal.SIGTERM]
    assert found.lines()[0] == ("-", "sys", "node rank 0 of 2 waits for the others")
    assert found.texts() == []


def test_facts_that_cannot_be_written_do_not_fail_a_run_that_went_well(gang: MakeGang, tmp_path: Path) -> None:
    (tmp_path / "facts.jsonl").mkdir()
    found = gang("""echo '{"at":1,"step":1}' > $AMPACITY_MEMBER_DIR/progress/rank-0.jsonl""", ranks=1)
    assert found.wait() == [0]
    assert ("-", "sys", "the fact progress_reported could not be written: Is a directory") in found.lines()


def test_a_command_of_one_line_is_the_rank_itself(gang: MakeGang) -> None:
    found = gang("sleep 60\n", ranks=1)
    eventually(lambda: [process.name() for process in found.ranks()] == ["sleep"], "the rank alone")
    found.ranks()[0].kill()
    eventually(found.restarts, "the restart")
    assert found.restarts()[0].cause.signal == signal.SIGKILL


def test_strangers_at_the_coordinators_port_are_sent_away(gang: MakeGang, tmp_path: Path) -> None:
    found = gang("echo up", nodes=2, ranks=1)
    rendezvous = tmp_path / "gang" / "rendezvous"
    eventually(rendezvous.exists, "the rendezvous")
    assert rendezvous.stat().st_mode & 0o777 == 0o600
    place = json.loads(rendezvous.read_text())
    for hello in (b"garbage\n", b'{"node_rank": 1, "secret": "wrong"}\n', b'{"node_rank": "x"}\n'):
        try:
            with socket.create_connection((place["address"], place["port"]), timeout=5) as stranger:
                stranger.sendall(hello)
                assert stranger.recv(100) == b""
        except ConnectionError:
            pass  # the gang has met meanwhile and the port is closed
    assert found.wait() == [0, 0]


def test_progress_becomes_facts_and_the_last_step_and_checkpoint_are_told(gang: MakeGang) -> None:
    report = (
        "import json,os,time\n"
        "path=os.environ['AMPACITY_MEMBER_DIR']+'/progress/rank-0.jsonl'\n"
        "for step in range(1,41):\n"
        "  open(path,'a').write(json.dumps({'at':time.time(),'incarnation':0,'step':step,'loss':1/step})+'\\n')\n"
        "  if step==20: open(path,'a').write(json.dumps({'at':time.time(),'step':20,'checkpoint':'/c/20'})+'\\n')\n"
        "  time.sleep(0.06)\n"
        "time.sleep(1.2)\n"
        "open(path,'a').write(json.dumps({'at':time.time(),'step':40,'checkpoint':'/c/40'})+'\\n')\n"
        "open(path,'a').write('{torn')\n"
    )
    found = gang(f'exec {sys.executable} -c "{report}"', ranks=1)
    assert found.wait() == [0]
    told = [fact.progress for fact in found.facts() if isinstance(fact, ProgressReported)]
    assert 3 <= len(told) <= 7
    assert (told[-1].step, told[-1].loss) == (40, 1 / 40)
    assert (told[-1].checkpoint_step, told[-1].checkpoint_path) == (40, "/c/40")
    checkpoints = [each.checkpoint_at for each in told if each.checkpoint_at is not None]
    assert checkpoints == sorted(checkpoints)
    assert told[-1].checkpoint_at == max(checkpoints)
    assert told[-1].checkpoint_at > told[-1].at, "the report of the step came before"


def test_a_checkpoint_that_is_the_last_word_is_told(gang: MakeGang, tmp_path: Path) -> None:
    go = tmp_path / "go"
    lines = (
        f'{{ echo \'{{"at":1,"step":3,"loss":NaN}}\'; {WAIT.format(go=go)};'
        ' echo \'{"at":2,"step":3,"checkpoint":"/c/3"}\'; } > $AMPACITY_MEMBER_DIR/progress/rank-0.jsonl'
    )
    found = gang(lines, ranks=1)
    eventually(found.facts, "the first report")
    go.touch()
    assert found.wait() == [0]
    first, last = [fact.progress for fact in found.facts() if isinstance(fact, ProgressReported)]
    assert (first.step, first.loss, first.checkpoint_step) == (3, None, None)
    assert (last.step, last.checkpoint_step, last.checkpoint_path) == (3, 3, "/c/3")


def test_the_agent_and_the_ranks_core_keep_to_old_pythons_and_the_standard_library() -> None:
    for folder in (AGENT, AGENT.parent / "rank"):
        for path in folder.glob("*.py"):
            tree = ast.parse(path.read_text(), feature_version=(3, 9))
            for node in tree.body:
                if isinstance(node, ast.ImportFrom) and node.level == 0:
                    assert str(node.module).split(".")[0] in sys.stdlib_module_names, path
                if isinstance(node, ast.Import):
                    assert all(name.name.split(".")[0] in sys.stdlib_module_names for name in node.names), path
                assert not isinstance(node, ast.Match), path
