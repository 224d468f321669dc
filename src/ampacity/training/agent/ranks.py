"""The ranks of this member in one incarnation: started, listened to, and ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import threading
import time
from typing import IO, Any, Callable, Dict, List, Optional

from .config import Config
from .leftovers import end_leftovers
from .lines import lines_of
from .reports import Output

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Ranks:
    """``ended(local_rank, returncode)`` is called, from a thread, once for each rank that has ended by itself."""

    def __init__(self, config: Config, output: Output, ended: Callable[[int, int], None]) -> None:
        self._config, self._output, self._ended = config, output, ended
        self._processes: List[subprocess.Popen[bytes]] = []
        self._threads: List[threading.Thread] = []

    def start(self, incarnation: int, master_addr: str, master_port: int) -> None:
        """Raises ``OSError`` when a process cannot be made."""
        for local_rank in range(self._config.ranks_per_node):
            env = self._environment(local_rank, incarnation, master_addr, master_port)
            process = subprocess.Popen(
                ["/bin/sh", "-c", _exec(self._config.command)],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),
            )
            self._processes.append(process)
            self._attend(local_rank, process)

    def signal(self, number: int) -> None:
        """To each rank's process group."""
        for process in self._processes:
            if process.poll() is None:
                _kill_group(process.pid, number)

    def end(self, grace_s: float) -> None:
        """SIGTERM, then SIGKILL to what is left after the grace. Returns when all have ended."""
        self.signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        for process in self._processes:
            _kill_group(process.pid, signal.SIGKILL)
            process.wait()
        end_leftovers()
        for thread in self._threads:
            thread.join(timeout=1.0)

    def _attend(self, local_rank: int, process: subprocess.Popen[bytes]) -> None:
        rank = self._config.rank(local_rank)
        pumps = []
        for stream, pipe in (("out", process.stdout), ("err", process.stderr)):
            assert pipe is not None
            pumps.append(threading.Thread(target=self._pump, args=(rank, stream, pipe), daemon=True))
        watch = threading.Thread(target=self._watch, args=(local_rank, process, pumps), daemon=True)
        for thread in (*pumps, watch):
            thread.start()
        self._threads.extend((*pumps, watch))

    def _pump(self, rank: int, stream: str, pipe: IO[bytes]) -> None:
        with pipe:
            for line in lines_of(pipe.fileno()):
                self._output.line(rank, stream, line)

    def _watch(self, local_rank: int, process: subprocess.Popen[bytes], pumps: List[threading.Thread]) -> None:
        code = process.wait()
        for pump in pumps:
            pump.join(timeout=0.5)  # a grandchild may hold the pipe open for longer; it is not waited for
        self._ended(local_rank, code)

    def _environment(self, local_rank: int, incarnation: int, master_addr: str, master_port: int) -> Dict[str, str]:
        config = self._config
        env = dict(os.environ)
        env.setdefault("OMP_NUM_THREADS", "1")
        env.update(
            MASTER_ADDR=master_addr,
            MASTER_PORT=str(master_port),
            RANK=str(config.rank(local_rank)),
            WORLD_SIZE=str(config.world_size),
            LOCAL_RANK=str(local_rank),
            LOCAL_WORLD_SIZE=str(config.ranks_per_node),
            NODE_RANK=str(config.node_rank),
            GROUP_RANK=str(config.node_rank),
            AMPACITY_INCARNATION=str(incarnation),
            AMPACITY_CHECKPOINT_DIR=config.checkpoint_dir,
            PYTHONUNBUFFERED=env.get("PYTHONUNBUFFERED", "1"),
        )
        if config.checkpoint_every_s is not None:
            env["AMPACITY_CHECKPOINT_EVERY_S"] = str(config.checkpoint_every_s)
        return env


def cause_of(rank: int, returncode: int) -> Dict[str, Any]:
    """The cause of a rank's end, in the form of the disk."""
    if returncode == 0:
        return _cause("completed", rank, exit_code=0)
    if returncode < 0:
        name = signal.Signals(-returncode).name if -returncode in _known_signals() else f"signal {-returncode}"
        return _cause("signal", rank, number=-returncode, message=f"rank {rank} was ended by {name}")
    return _cause("exit", rank, exit_code=returncode, message=f"rank {rank} ended with exit code {returncode}")


def _cause(
    kind: str, rank: int, *, exit_code: Optional[int] = None, number: Optional[int] = None, message: str = ""
) -> Dict[str, Any]:
    return {"kind": kind, "exit_code": exit_code, "signal": number, "rank": rank, "message": message}


def _known_signals() -> "set[int]":
    return {int(each) for each in signal.Signals}


_SHELL_ONLY = re.compile(
    r"[!.:]|\[\[|alias|bg|break|case|cd|command|continue|eval|exec|exit|export|fg|for|getopts|hash|if|jobs|local|read|"
    r"readonly|return|set|shift|source|times|trap|type|ulimit|umask|unalias|unset|until|wait|while"
)
"""Words at the beginning of a command that name no program."""


def _exec(command: str) -> str:
    """A single command replaces its shell, so that the rank is the process itself and gets the signals."""
    text = command.strip()
    words = text.split()
    simple = words and not any(mark in text for mark in "\n;&|(){}<>`#")
    return f"exec {text}" if simple and not _SHELL_ONLY.fullmatch(words[0]) and "=" not in words[0] else command


def _die_with(agent: int) -> Callable[[], None]:
    """What a rank does before it becomes the command: have the kernel kill it when the agent ends."""

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != agent:  # it ended before the kernel was asked
            os.kill(os.getpid(), signal.SIGKILL)

    return prepare


def _kill_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
