"""The agent: one loop over one inbox. Node rank 0 also decides for the whole gang."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any, Dict, Optional

from .config import Config
from .gang import Inbox, Message, NotWanted, Wanted, Wire, free_port, host_gang, join_gang
from .ranks import Ranks, cause_of
from .reports import Facts, Output, ProgressTail, write_cause

DO_NOT_RESTART = 93
"""A rank that exits with this code wants no other incarnation."""

TERMINATED = 128 + signal.SIGTERM
"""The exit code of a member that was told to end."""

SAVE = "save"
"""The file in the member's folder that asks rank 0 to save. ``rank/checkpoint.py`` knows it by the same name."""

RESTART_GRACE_S = 1.0
"""How long the ranks that are left may take to end before a restart; their state is the last checkpoint's anyway."""


class Agent:
    """Runs the ranks of its member; as node rank 0 it also begins, restarts and ends the gang."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._inbox = Inbox()
        self._wanted = Wanted()
        self._output = Output(config)
        self._facts = Facts(config, self._output)
        self._ranks: Optional[Ranks] = None
        self._incarnation = -1
        self._running = 0
        self._head: Optional[Head] = None
        self._wire: Optional[Wire] = None
        self._stopping = False

    def run(self) -> int:
        """The exit code of the member."""
        os.makedirs(os.path.join(self._config.member_dir, "progress"), exist_ok=True)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._told_to_end)
        signal.signal(signal.SIGUSR1, self._asked_to_save)
        try:
            self._meet()
        except NotWanted:
            return TERMINATED
        except (TimeoutError, OSError) as error:
            return self._fail({"kind": "launch_failed", "message": str(error)})
        tail = ProgressTail(self._config, self._facts) if self._config.node_rank == 0 else None
        if tail is not None:
            tail.start()
        code: Optional[int] = None
        while code is None:
            sender, message = self._inbox.get()
            code = self._react(sender, message)
        if tail is not None:
            tail.finish()
        return code

    def _told_to_end(self, *_: object) -> None:
        self._wanted.still = False
        self._inbox.put(self._config.node_rank, {"type": "terminate"})

    def _asked_to_save(self, *_: object) -> None:
        """Rank 0 finds the file, and all ranks save at their next step."""
        os.close(os.open(os.path.join(self._config.member_dir, SAVE), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def _meet(self) -> None:
        if self._config.nnodes > 1:
            self._output.say(f"node rank {self._config.node_rank} of {self._config.nnodes} waits for the others")
        if self._config.node_rank == 0:
            wires = host_gang(self._config, self._inbox, self._wanted)
            self._head = Head(self._config, self._facts, self._inbox, wires)
            self._head.begin()
        else:
            self._wire = join_gang(self._config, self._inbox, self._wanted)

    def _react(self, sender: int, message: Message) -> Optional[int]:
        """What the message asks for; the exit code when it is the end."""
        kind = message["type"]
        if kind == "terminate":
            return self._terminate()
        if kind == "lost" and self._wire is not None:
            self._end_ranks(self._config.grace_s)
            return self._fail({"kind": "supervisor_died", "message": "the agent of node rank 0 is gone"})
        if kind == "rank":
            self._rank_ended(message)
        elif kind == "start":
            self._start(message)
        elif kind == "stop":
            self._end_ranks(RESTART_GRACE_S)
            self._tell({"type": "stopped", "incarnation": message["incarnation"]})
        elif kind == "exit":
            self._end_ranks(RESTART_GRACE_S)
            return 0 if message["cause"] is None else self._fail(message["cause"])
        elif self._head is not None:
            self._head.hear(sender, message)
        return None

    def _start(self, message: Message) -> None:
        self._incarnation = message["incarnation"]
        incarnation = self._incarnation
        self._running = self._config.ranks_per_node

        def ended(local_rank: int, returncode: int) -> None:
            event = {"type": "rank", "incarnation": incarnation, "local_rank": local_rank, "code": returncode}
            self._inbox.put(self._config.node_rank, event)

        self._ranks = Ranks(self._config, self._output, ended)
        try:
            self._ranks.start(incarnation, message["master_addr"], message["master_port"])
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            cause = {"kind": "launch_failed", "message": f"a rank cannot be started: {error}"}
            self._tell({"type": "failed", "incarnation": incarnation, "cause": cause})

    def _rank_ended(self, message: Message) -> None:
        if message["incarnation"] != self._incarnation or self._stopping:
            return
        cause = cause_of(self._config.rank(message["local_rank"]), message["code"])
        if cause["kind"] != "completed":
            self._output.say(cause["message"])
            self._tell({"type": "failed", "incarnation": self._incarnation, "cause": cause})
            return
        self._running -= 1
        if self._running == 0:
            self._tell({"type": "done", "incarnation": self._incarnation})

    def _tell(self, message: Message) -> None:
        """To node rank 0, which may be this agent."""
        if self._wire is not None:
            self._wire.send(message)
        else:
            self._inbox.put(0, message)

    def _end_ranks(self, grace_s: float) -> None:
        self._incarnation = -1
        if self._ranks is not None:
            self._ranks.end(grace_s)
            self._ranks = None

    def _terminate(self) -> int:
        """The supervisor wants the member to end: the ranks get their grace, then the supervisor's SIGKILL comes."""
        self._stopping = True
        self._end_ranks(self._config.grace_s)
        return TERMINATED

    def _fail(self, cause: Dict[str, Any]) -> int:
        write_cause(self._config, cause)
        return 1


class Head:
    """What node rank 0 decides: when an incarnation begins, and when the gang has ended."""

    def __init__(self, config: Config, facts: Facts, inbox: Inbox, wires: "dict[int, Wire]") -> None:
        self._config, self._facts, self._inbox, self._wires = config, facts, inbox, wires
        self._incarnation = 0
        self._done: "set[int]" = set()
        self._stopped: "set[int]" = set()
        self._cause: Optional[Dict[str, Any]] = None
        self._over = False

    def begin(self) -> None:
        """Have every member start its ranks."""
        self._done, self._stopped, self._cause = set(), set(), None
        self._to_all(
            {
                "type": "start",
                "incarnation": self._incarnation,
                "master_addr": self._config.master_addr,
                "master_port": free_port(),
            }
        )

    def hear(self, sender: int, message: Message) -> None:
        """A member has something to say: ``failed``, ``done``, ``stopped`` or ``lost``."""
        if self._over:
            return
        kind = message["type"]
        if kind == "lost":
            text = f"the agent of node rank {sender} is gone"
            self._finish({"kind": "supervisor_died", "message": text})
        elif message.get("incarnation") != self._incarnation:
            return
        elif kind == "failed":
            self._failed(message["cause"])
        elif kind == "done":
            self._done.add(sender)
            if len(self._done) == self._config.nnodes:
                self._finish(None)
        elif kind == "stopped":
            self._stopped.add(sender)
            if len(self._stopped) == self._config.nnodes and self._cause is not None:
                self._again(self._cause)

    def _failed(self, cause: Dict[str, Any]) -> None:
        if self._cause is not None:
            return  # the first to fail is the cause; the others fell with it
        self._cause = cause
        limit = self._config.max_restarts
        if cause.get("exit_code") == DO_NOT_RESTART or (limit is not None and self._incarnation >= limit):
            self._finish(cause)
            return
        self._to_all({"type": "stop", "incarnation": self._incarnation})

    def _again(self, cause: Dict[str, Any]) -> None:
        self._incarnation += 1
        self._facts.incarnation(self._incarnation, cause)
        self.begin()

    def _finish(self, cause: Optional[Dict[str, Any]]) -> None:
        self._over = True
        self._to_all({"type": "exit", "cause": cause})

    def _to_all(self, message: Message) -> None:
        for wire in self._wires.values():
            wire.send(message)
        self._inbox.put(0, message)
