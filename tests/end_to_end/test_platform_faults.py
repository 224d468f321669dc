"""SIGKILL, on the whole platform: nothing is lost, nothing runs twice, no orphan stays."""

from __future__ import annotations

import os
import signal
import urllib.request
from pathlib import Path

import psutil

from ampacity.model.workload import WorkloadPhase
from whole_platform import Platform, eventually

LIMIT_S = 120.0
COUNTING = "echo started >> {starts}; while [ ! -e {go} ]; do sleep 0.05; done; echo done"


def counting_job(platform: Platform, name: str) -> tuple[str, Path, Path]:
    """A job that writes a line at each start and ends when the file ``go`` is there."""
    starts, go = platform.work / f"{name}.starts", platform.work / f"{name}.go"
    return COUNTING.format(starts=starts, go=go), starts, go


def test_the_control_plane_dies_and_its_jobs_do_not_notice(platform: Platform) -> None:
    platform.up("n1:cpus=2,memory=2GB")
    command, starts, go = counting_job(platform, "a")
    assert platform.ampacity("run", "--name", "a", "--detach", "--", "sh", "-c", command).code == 0
    assert platform.ampacity("run", "--name", "b", "--cpus", "2", "--detach", "--", "echo", "b ran").code == 0
    eventually(starts.exists, "the job's start")
    os.kill(platform.client.status().pid, signal.SIGKILL)
    go.touch()
    eventually(lambda: not platform.marked(AMPACITY_WORKLOAD_NAME="a"), "the job's end, unwatched")
    platform.up()
    assert platform.client.wait("a", timeout_s=120).workload.phase is WorkloadPhase.SUCCEEDED
    assert platform.client.wait("b", timeout_s=120).workload.phase is WorkloadPhase.SUCCEEDED
    assert starts.read_text() == "started\n"
    assert "done" in platform.ampacity("logs", "a").out


def test_a_killed_supervisor_takes_its_job_with_it_and_the_job_is_placed_anew(platform: Platform) -> None:
    platform.up("n1:cpus=2,memory=2GB")
    command, starts, go = counting_job(platform, "a")
    done = platform.ampacity("run", "--name", "a", "--retry", "2", "--detach", "--", "sh", "-c", command)
    assert done.code == 0, done.err
    eventually(starts.exists, "the job's start")
    platform.supervisor_of("a").send_signal(signal.SIGKILL)
    eventually(lambda: starts.read_text() == "started\nstarted\n", "the second start")
    assert not platform.marked(AMPACITY_WORKLOAD_NAME="a", AMPACITY_EPOCH="1")
    assert platform.marked(AMPACITY_WORKLOAD_NAME="a", AMPACITY_EPOCH="2")
    go.touch()
    view = platform.client.wait("a", timeout_s=120)
    assert view.workload.phase is WorkloadPhase.SUCCEEDED
    assert [attempt.epoch for attempt in view.attempts] == [1, 2]
    assert starts.read_text() == "started\nstarted\n"


def test_a_killed_rank_is_restarted_in_place(platform: Platform) -> None:
    platform.up("n1:cpus=2,memory=2GB")
    go = platform.work / "go"
    platform.file(
        "job.yaml",
        f"name: gang\ntype: train\nranks_per_node: 2\nretry: {{max: 2}}\n"
        f"run: 'echo rank $RANK of $WORLD_SIZE, incarnation $AMPACITY_INCARNATION;"
        f" while [ ! -e {go} ]; do sleep 0.05; done'\n",
    )
    assert platform.ampacity("apply", "job.yaml").code == 0
    eventually(lambda: "rank 1 of 2, incarnation 0" in platform.ampacity("logs", "gang").out, "rank 1")
    platform.kill(AMPACITY_WORKLOAD_NAME="gang", RANK="1", AMPACITY_INCARNATION="0")
    eventually(lambda: "rank 1 of 2, incarnation 1" in platform.ampacity("logs", "gang").out, "rank 1 again")
    go.touch()
    view = platform.client.wait("gang", timeout_s=120)
    assert view.workload.phase is WorkloadPhase.SUCCEEDED
    assert [(attempt.epoch, attempt.incarnation) for attempt in view.attempts] == [(1, 1)]


def test_control_plane_parent_supervisor_and_rank_die_at_once(platform: Platform) -> None:
    platform.up("n1:cpus=6,memory=4GB")
    stays, stays_starts, stays_go = counting_job(platform, "stays")
    falls, falls_starts, falls_go = counting_job(platform, "falls")
    go = platform.work / "gang.go"
    platform.file(
        "job.yaml",
        f"name: gang\ntype: train\nranks_per_node: 2\nretry: {{max: 2}}\n"
        f"run: 'echo $RANK $AMPACITY_INCARNATION >> gang.starts; while [ ! -e {go} ]; do sleep 0.05; done'\n"
        f"workdir: {platform.work}\n",
    )
    for name, command in (("stays", stays), ("falls", falls)):
        done = platform.ampacity("run", "--name", name, "--retry", "2", "--detach", "--", "sh", "-c", command)
        assert done.code == 0, done.err
    assert platform.ampacity("apply", "job.yaml").code == 0
    ranks = platform.work / "gang.starts"
    eventually(stays_starts.exists, "the start of the job that is left alone", LIMIT_S)
    eventually(falls_starts.exists, "the start of the job whose supervisor is killed", LIMIT_S)
    eventually(lambda: ranks.exists() and len(ranks.read_text().splitlines()) == 2, "both ranks", LIMIT_S)

    supervisor = platform.supervisor_of("falls")
    parent = psutil.Process(int((platform.state_dir / "local" / "parent.lock").read_text()))
    assert parent.name() == "ampacity-parent"
    control = psutil.Process(platform.client.status().pid)
    for process in (control, parent, supervisor):
        process.send_signal(signal.SIGKILL)
    platform.kill(AMPACITY_WORKLOAD_NAME="gang", RANK="1")

    platform.up()
    eventually(lambda: falls_starts.read_text() == "started\nstarted\n", "the second start", LIMIT_S)
    eventually(lambda: sorted(ranks.read_text().splitlines()) == ["0 0", "0 1", "1 0", "1 1"], "the ranks", LIMIT_S)
    for each in (stays_go, falls_go, go):
        each.touch()
    epochs = {}
    for name in ("stays", "falls", "gang"):
        view = platform.client.wait(name, timeout_s=LIMIT_S)
        assert view.workload.phase is WorkloadPhase.SUCCEEDED
        epochs[name] = [(attempt.epoch, attempt.incarnation) for attempt in view.attempts]
    assert epochs == {"stays": [(1, 0)], "falls": [(1, 0), (2, 0)], "gang": [(1, 1)]}
    assert stays_starts.read_text() == "started\n"
    assert falls_starts.read_text() == "started\nstarted\n"


SERVER = """
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self, plain):
        body = json.dumps(plain).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self): self.answer({"status": "ok"})
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer({"pid": os.getpid()})
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def ask(url: str) -> int:
    request = urllib.request.Request(f"{url}/v1/completions", data=b'{"model": "echo", "prompt": "x"}', method="POST")
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200
        return len(answer.read())


def echo_service(platform: Platform) -> None:
    script = platform.file("server.py", SERVER)
    platform.file(
        "s.yaml",
        f"name: echo\ntype: service\nreplicas: 2\nserved_name: echo\nrun: exec python3 {script}\n",
    )
    assert platform.ampacity("apply", "s.yaml").code == 0
    eventually(lambda: ready(platform) == 2, "two ready replicas")


def ready(platform: Platform) -> int:
    return sum(attempt.ready for attempt in platform.client.workload("echo").attempts)


def answers(platform: Platform) -> bool:
    try:
        return ask(platform.client.status().gateway_url) > 0
    except OSError:
        return False


def test_a_killed_replica_costs_no_request_and_is_replaced(platform: Platform) -> None:
    platform.up("n1:cpus=4,memory=2GB")
    echo_service(platform)
    url = platform.client.status().gateway_url
    eventually(lambda: answers(platform), "the gateway's first answer")
    victim = next(attempt for attempt in platform.client.workload("echo").attempts if attempt.ready)
    platform.kill(AMPACITY_ATTEMPT=victim.id)
    for _ in range(200):
        assert ask(url) > 0
    eventually(lambda: ready(platform) == 2, "the replica's successor")
    found = platform.client.workload("echo").attempts
    assert victim.id not in {attempt.id for attempt in found if attempt.ready}


def test_a_killed_gateway_comes_back_and_needs_no_control_plane_to_serve(platform: Platform) -> None:
    platform.up("n1:cpus=4,memory=2GB")
    echo_service(platform)
    eventually(lambda: answers(platform), "the gateway's first answer")
    url = platform.client.status().gateway_url
    platform.kill(AMPACITY_WORKLOAD_NAME="gateway")
    eventually(lambda: answers(platform), "the gateway again")
    assert platform.client.status().gateway_url == url
    os.kill(platform.client.status().pid, signal.SIGKILL)
    for _ in range(20):
        assert ask(url) > 0
    platform.up()
    eventually(lambda: ready(platform) == 2, "both replicas in the new control plane's view")
    assert ask(url) > 0
