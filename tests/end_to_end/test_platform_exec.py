"""Commands inside running jobs: with pipes and on a real terminal, as people know them from docker and kubectl."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import psutil
import pytest

from ampacity.api.frames import Size
from ampacity.model.errors import AmpacityError, Conflict, InvalidSpec
from whole_platform import Platform, eventually

VALUE = "hf_value-of-the-terminal-test"


def job(platform: Platform, tmp_path: Path) -> Path:
    """A job that runs until the file is there."""
    go = tmp_path / "go"
    platform.up("n1:cpus=2,memory=2GB,H100=2")
    platform.client.set_secret("HF_TOKEN", VALUE)
    platform.client.submit(
        f"name: job\nsecrets: [HF_TOKEN]\nenvs: {{COLOUR: blue}}\nresources: {{accelerators: H100:1, cpus: 1}}\n"
        f"run: |\n  touch here; echo up; while [ ! -e {go} ]; do sleep 0.05; done\n"
    )
    eventually(lambda: "up" in platform.ampacity("logs", "job").out, "the job's start")
    return go


def exec_(platform: Platform, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "ampacity.cli", "--state", str(platform.state_dir), "exec", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60, check=False)


def test_with_pipes(platform: Platform, tmp_path: Path) -> None:
    job(platform, tmp_path)
    told = "echo $COLOUR $CUDA_VISIBLE_DEVICES $HF_TOKEN; ls; echo to stderr >&2; exit 7"
    done = exec_(platform, "job", "--", "sh", "-c", told)
    assert (done.returncode, done.stdout, done.stderr) == (7, f"blue 0 {VALUE}\nhere\n".encode(), b"to stderr\n")
    assert exec_(platform, "job", "--", "sh", "-c", "kill -9 $$").returncode == 137
    missing = exec_(platform, "job", "--", "no-such-command")
    assert (missing.returncode, missing.stderr) == (127, b"ampacity: command not found: no-such-command\n")
    assert exec_(platform, "job", "--", "cat", stdin=b"unheard").stdout == b""
    data = os.urandom(3_000_000)
    there_and_back = exec_(platform, "-i", "job", "--", "cat", stdin=data)
    assert there_and_back.stdout == data
    into_the_job = exec_(platform, "-i", "job", "--", "sh", "-c", "cat > made", stdin=data)
    assert into_the_job.returncode == 0
    assert platform.ampacity("cp", "job:made", "./made").code == 0
    assert (platform.work / "made").read_bytes() == data
    same = "cat /proc/self/cgroup; taskset -p $$ | sed 's/.*: //'"
    assert VALUE not in platform.ampacity("logs", "job").out
    inside = exec_(platform, "job", "--", "sh", "-c", same).stdout
    (main,) = [process for process in platform.marked(COLOUR="blue") if says(process, "touch here")]
    assert Path(f"/proc/{main.pid}/cgroup").read_bytes() in inside
    assert f"{sum(1 << cpu for cpu in os.sched_getaffinity(main.pid)):x}".encode() in inside


def says(process: psutil.Process, text: str) -> bool:
    """Whether it is in its command. The job starts short-lived ones all the time."""
    try:
        return text in " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return False


class Screen:
    """A real terminal with the command line on it."""

    def __init__(self, platform: Platform, *arguments: str, columns: int = 90, rows: int = 30) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            command = [sys.executable, "-m", "ampacity.cli", "--state", str(platform.state_dir), *arguments]
            os.execv(sys.executable, command)
        self.resize(columns, rows)
        self.shown = b""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def wait_for(self, text: str, limit_s: float = 30.0) -> None:
        deadline = time.monotonic() + limit_s
        while text.encode() not in self.shown:
            left_s = deadline - time.monotonic()
            assert left_s > 0, f"{text!r} is not shown: {self.shown[-800:]!r}"
            if select.select([self.fd], [], [], left_s)[0]:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:
                    data = b""
                assert data, f"it ended without {text!r}: {self.shown[-800:]!r}"
                self.shown += data
        self.shown = self.shown.partition(text.encode())[2]

    def end(self) -> int:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.shown += os.read(self.fd, 65536)
                except OSError:
                    break
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


@pytest.mark.parametrize("verb", [("exec", "-it", "job", "--", "bash", "--norc"), ("attach", "job", "--shell")])
def test_on_a_terminal(platform: Platform, tmp_path: Path, verb: tuple[str, ...]) -> None:
    """A shell: it knows its terminal and the window's size, Ctrl-C is the command's, and its code comes back."""
    job(platform, tmp_path)
    screen = Screen(platform, *verb)
    screen.type("echo ready-$((40+2))\n")
    screen.wait_for("ready-42")
    screen.type("tty; stty size; echo $COLOUR-$((1+1))\n")
    screen.wait_for("/dev/pts/")
    screen.wait_for("30 90")
    screen.wait_for("blue-2")
    screen.resize(120, 40)
    screen.type("until [ \"$(stty size)\" = '40 120' ]; do sleep 0.05; done; echo resized-$((1+2))\n")
    screen.wait_for("resized-3")
    screen.type("sh -c 'trap \"echo caught; exit 9\" INT; echo waiting-$((2+2)); while :; do sleep 0.05; done'\n")
    screen.wait_for("waiting-4")
    screen.type("\x03")
    screen.wait_for("caught")
    screen.type("exit 5\n")
    assert screen.end() == 5


def test_what_it_starts_ends_with_it_and_it_ends_with_the_job(platform: Platform, tmp_path: Path) -> None:
    go = job(platform, tmp_path)
    left = exec_(platform, "job", "--", "sh", "-c", "LEFT=yes sleep 601 >/dev/null 2>&1 & exit 0")
    assert left.returncode == 0, left.stderr
    eventually(lambda: not platform.marked(LEFT="yes"), "the end of what it left behind")
    started = tmp_path / "started"
    command = [sys.executable, "-m", "ampacity.cli", "--state", str(platform.state_dir)]
    command += ["exec", "job", "--", "sh", "-c", f"touch {started}; LEFT=cut sleep 602"]
    cut = subprocess.Popen(command)
    eventually(lambda: bool(platform.marked(LEFT="cut")), "the command")
    cut.send_signal(signal.SIGKILL)
    cut.wait()
    eventually(lambda: not platform.marked(LEFT="cut"), "the end of the command that nobody listens to")
    ends: list[BaseException] = []

    def wait_inside() -> None:
        try:
            platform.client.exec("job", ["sh", "-c", "LEFT=late sleep 603"]).run(stdin=None, stdout=null, stderr=null)
        except AmpacityError as error:
            ends.append(error)

    null = os.open(os.devnull, os.O_WRONLY)
    waiter = threading.Thread(target=wait_inside)
    waiter.start()
    eventually(lambda: bool(platform.marked(LEFT="late")), "the command inside")
    go.touch()
    waiter.join(120)
    os.close(null)
    assert [str(error) for error in ends] in (["The command was ended: the job has ended."], [])
    platform.client.wait("job", timeout_s=120)
    eventually(lambda: not platform.marked(LEFT="late"), "the end of the command inside")
    with pytest.raises(Conflict, match="does not run"):
        platform.client.exec("job", ["true"])


def test_what_cannot_be_is_refused(platform: Platform, tmp_path: Path) -> None:
    job(platform, tmp_path)
    with pytest.raises(InvalidSpec, match="no command"):
        platform.client.exec("job", [])
    with pytest.raises(InvalidSpec, match="no member 3"):
        platform.client.exec("job", ["true"], member=3)
    refused = exec_(platform, "-t", "job", "--", "bash")
    assert (refused.returncode, b"no terminal" in refused.stderr) == (2, True)
    terminal = platform.client.exec("job", ["sh", "-c", "stty size; exit 4"], tty_size=Size(columns=33, rows=11))
    read, write = os.pipe()
    assert terminal.run(stdin=None, stdout=write) == 4
    os.close(write)
    with open(read, "rb") as shown:
        assert shown.read().split() == [b"11", b"33"]
    assert len([p for p in psutil.Process(platform.client.status().pid).children() if "enter.py" in p.name()]) == 0
