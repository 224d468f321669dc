"""One supervisor: it holds one member from its start to its end, and writes down how it went."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import time

from . import causes, ports, prctl
from .child import Child, NotLaunched, spawn
from .disk import FORMAT, Syncing, append_fact, is_full, read_json, reserve, trim, write_json
from .limits import Limits
from .mounts import Mounts, missing
from .output import LOG_BYTES, Log, OutputPipes
from .processes import MARK, boot_id, send, start_ticks
from .secrets import Secrets
from .tree import Tree
from .watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

LEAST_GRACE_S = 0.1
"""A SIGTERM that is followed by SIGKILL at once might as well not be sent."""
LOOK_SHARE = 50
"""Looking what a member uses may take one part in so many of a CPU."""


def run(
    folder: str, base_env: Mapping[str, str], reply: Callable[[str], None], secrets: Mapping[str, Any] | None = None
) -> None:
    """Hold the member of that folder, unless it was begun, ended or fenced before.

    ``reply`` is told one word: ``started``, ``exited`` (it could not be started, or has ended already), ``known``
    (state.json is there), ``held`` (another supervisor has it), ``fenced`` or ``unreadable``.
    """
    wakeup = _catch_signals()
    lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return reply("held")
    for name, answer in (("exit.json", "exited"), ("state.json", "known"), ("stop.json", "fenced")):
        if os.path.exists(os.path.join(folder, name)):
            return reply(answer)
    member = read_json(os.path.join(folder, "member.json"))
    if member is None or member.get("format") != FORMAT:
        return reply("unreadable")
    prctl.set_name("ampacity-member")
    _Supervisor(folder, member, base_env, reply, wakeup, Secrets(secrets or {}, folder)).hold()
    os.close(lock)
    return None


def _catch_signals() -> int:
    """SIGTERM and SIGCHLD only wake the loop: the answer is the reading end of a pipe that has a byte then."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for signum in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(signum, lambda *_: None)
    for signum in (signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    return read


class _Order:
    """Why the member has to end before it ends by itself, and since when (monotonic)."""

    __slots__ = ("at", "kind", "message")

    def __init__(self, kind: str, message: str, at: float) -> None:
        self.kind = kind
        self.message = message
        self.at = at


class _Supervisor:
    def __init__(
        self,
        folder: str,
        member: Mapping[str, Any],
        base_env: Mapping[str, str],
        reply: Callable[[str], None],
        wakeup: int,
        secrets: Secrets,
    ) -> None:
        self.folder = folder
        self.member = member
        self.reply = reply
        self.wakeup = wakeup
        self.base_env = base_env
        self.began = time.monotonic()
        self.grace_s = float(member["grace_s"])
        self.state = {
            "format": FORMAT,
            "pid": os.getpid(),
            "pid_start": start_ticks(os.getpid()),
            "boot_id": boot_id(),
            "child_pid": None,
            "port": member["port"] or None,
            "started_at": time.time(),
        }
        self.limits = Limits(member)
        self.mounts = Mounts(member)
        self.tree = Tree(f"{member['attempt']}-{member['member']}", self.limits.group)
        self.kills = causes.Kills(self.limits.group, self.limits.asked.get("memory_bytes"))
        self.order: _Order | None = None
        self.child: Child | None = None
        self.ended_by_itself = False
        self.alone = False
        self.rest_asked = False
        self.port_lock = -1
        self.scratch = ""
        self.secrets = secrets
        self.secret_env: dict[str, str] = {}
        self.launch = Syncing(self.path("member.json"))
        self.watch = Watch(folder, self.limits)
        self.look_at = self.began + self.watch.every_s

    # The life of the member -------------------------------------------------------------------------------------

    def hold(self) -> None:
        log_bytes = self.limits.asked.get("log_bytes") or LOG_BYTES
        self.log = Log(self.path("output.log"), self.secrets.masks, max_bytes=log_bytes)
        self.pipes = OutputPipes(self.log)
        write_json(self.path("state.json"), self.state, durable=False)
        self.read_stop()
        try:
            cause = self.live()
        except (NotLaunched, ports.NoFreePort) as error:
            self.log.say(str(error))
            self.pump(whole=True)
            cause = causes.cause("launch_failed", str(error))
        self.end(cause)
        self.reply("exited")

    def live(self) -> dict[str, Any]:
        """Setup, then the command. Answers why it ended; raises ``NotLaunched``, ``NoFreePort``."""
        if self.order is not None:
            return causes.cause(self.order.kind, self.order.message)
        if self.member["port"] == 0:
            folder = os.path.join(os.path.dirname(self.member["facts"]), "ports")
            self.state["port"], self.port_lock = ports.take(folder)
        try:
            self.limits.make(os.path.join(os.path.dirname(self.member["facts"]), "cpus"))
        except OSError as error:
            raise NotLaunched(f"its limits cannot be set on this node: {error}") from error
        if absent := missing(self.member):
            raise NotLaunched(absent)
        self.secret_env = self.place_secrets()
        self.wait_for_disk()
        workdir = self.member["workdir"]
        if not workdir:
            workdir = self.path("work")
            os.makedirs(workdir, mode=0o700, exist_ok=True)
        if self.member["setup"]:
            self.report("member_preparing")
            status = self.run_process([_shell(), "-c", self.member["setup"]], workdir, whole=False)
            if self.order is not None or os.waitstatus_to_exitcode(status) != 0:
                self.pump(whole=True)
                return self.cause_of(status, setup=True)
        status = self.run_process([self.filled(part) for part in self.member["argv"]], workdir, whole=True)
        return self.cause_of(status, setup=False)

    def run_process(self, argv: list[str], workdir: str, *, whole: bool) -> int:
        """Start it and wait for its end. Answers its status. What a setup leaves behind may serve the command, and
        ends with it; ``whole``: it is the command, wait until everything has ended."""
        self.child = spawn(argv, self.environment(), workdir, self.pipes.writing, self.limits, self.mounts)
        self.ended_by_itself = False
        self.state["child_pid"] = self.child.pid
        try:
            write_json(self.path("state.json"), self.state, durable=False)
        except OSError as error:
            self.log.say(f"state.json could not be written anew: {error}")
        if whole:
            port = self.state["port"]
            self.report("member_started", endpoint=f"{self.member.get('address', '127.0.0.1')}:{port}" if port else "")
        self.reply("started")
        self.scratch = reserve(self.path("exit.json"))
        self.pump(whole=whole)
        assert self.child.status is not None
        return self.child.status

    def place_secrets(self) -> dict[str, str]:
        try:
            return self.secrets.place()
        except OSError as error:
            raise NotLaunched(f"the files of its secrets cannot be written: {error}") from error

    def wait_for_disk(self) -> None:
        """Nothing runs before it is sure that, after a loss of power, it is known that it may have run."""
        try:
            self.launch.wait()
        except OSError as error:
            raise NotLaunched(f"its launch cannot be written to the disk: {error}") from error

    def end(self, cause: dict[str, Any]) -> None:
        self.secrets.remove()
        send(self.limits.group.pids(), signal.SIGKILL)  # commands that people ran in it
        if not self.limits.group.remove():
            self.log.say("its cgroup could not be removed")
        cause["last_lines"] = self.log.last_lines()
        at = time.time()
        ended = {"format": FORMAT, "at": at, "cause": cause}
        try:
            write_json(self.path("exit.json"), ended, durable=False, scratch=self.scratch)
        finally:
            self.report("member_exited", at=at, cause=cause)
        # Who waits for the end does not wait for the disk: he who is told writes it down durably himself, and a loss
        # of power before that is one in which the job still ran.
        try:
            Syncing(self.path("exit.json")).wait()
            trim(self.path("exit.json"))
        except FileNotFoundError:
            return  # the member is forgotten already

    def cause_of(self, status: int, *, setup: bool) -> dict[str, Any]:
        if self.order is not None and (setup or not self.ended_by_itself):
            code = os.waitstatus_to_exitcode(status)
            return causes.cause(
                self.order.kind,
                self.order.message,
                exit_code=code if code >= 0 else None,
                signum=-code if code < 0 else None,
            )
        report = None if setup else causes.of_agent(read_json(self.path("cause.json")), self.kills)
        found = report or causes.of_status(
            status,
            setup=setup,
            kills=self.kills,
            lost_lines=self.log.lost_lines,
            full_disk=self.folder if self.log.disk_full else self.full_disk(),
        )
        return causes.of_device(found, self.member.get("device_check"), self.base_env)

    def full_disk(self) -> str:
        """The folder of the member's on whose disk there is no room left; empty = there is."""
        return next((folder for folder in (self.folder, self.member["workdir"]) if folder and is_full(folder)), "")

    # Waiting ----------------------------------------------------------------------------------------------------

    def pump(self, *, whole: bool) -> None:
        """Carry the output and obey stops and deadlines until the process has ended; ``whole``: until nothing of the
        member is left."""
        poller = select.poll()
        for fd in (*self.pipes.reading, self.wakeup):
            poller.register(fd, select.POLLIN)
        while True:
            self.collect()
            if not self.child_lives() and (self.alone or not whole):
                break
            if not self.child_lives() and not self.rest_asked:
                self.end_rest()
            self.meet_deadlines()
            for fd, _ in poller.poll(self.patience_ms()):
                if fd == self.wakeup:
                    self.drain_wakeup()
                    self.read_stop()
                else:
                    self.pipes.carry(fd)
        self.pipes.drain()

    def child_lives(self) -> bool:
        return self.child is not None and self.child.status is None

    def collect(self) -> None:
        """Take in what has died. As the reaper of all its descendants, the supervisor without children is alone."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.alone = self.tree.is_gone()
                return
            if pid == 0:
                self.alone = False
                return
            if self.child is not None and pid == self.child.pid:
                self.child.status = status
                self.ended_by_itself = self.order is None

    def end_rest(self) -> None:
        """The command has ended and left processes behind: ask those to end that were not asked yet."""
        count = self.tree.ask_rest()
        self.rest_asked = True
        if self.tree.kill_at is None:
            self.log.say(f"the command left {count} process(es) behind: they are ended now")
            self.tree.kill_by(time.monotonic() + self.grace_s)

    def meet_deadlines(self) -> None:
        now = time.monotonic()
        limit = self.member["max_duration_s"]
        if self.order is None and self.child_lives() and limit is not None and now >= self.began + limit:
            self.give_order("time_limit", f"it ran longer than its limit of {limit:g} s", self.grace_s)
        if self.order is None and self.child_lives() and now >= self.look_at:
            self.look()
        if self.order is not None and self.child is not None and self.child_lives():
            self.tree.ask(self.child.pid)
        self.tree.kill_if_due(now)

    def look(self) -> None:
        """Look what it uses, where the kernel does not keep it within its limits."""
        began = time.monotonic()
        self.log.trim()
        broken = self.watch.broken(self.tree.pids)
        if broken is not None:
            self.give_order(*broken, self.grace_s)
        now = time.monotonic()
        self.look_at = now + max(self.watch.every_s, (now - began) * LOOK_SHARE)

    def patience_ms(self) -> int | None:
        """How long to sleep if nothing happens; ``None`` = for ever."""
        now = time.monotonic()
        lives = self.child_lives()
        deadlines = [self.tree.due_at(now, leader_lives=lives)]
        if self.order is None and lives:
            limit = self.member["max_duration_s"]
            deadlines += [self.look_at, None if limit is None else self.began + limit]
        due = min((deadline for deadline in deadlines if deadline is not None), default=None)
        return None if due is None else max(0, int((due - now) * 1000) + 1)

    # Stopping ---------------------------------------------------------------------------------------------------

    def drain_wakeup(self) -> None:
        """Empty the pipe. A SIGTERM without a stop.json came from outside: the machine shuts down, or somebody."""
        try:
            caught = os.read(self.wakeup, 4096)
        except BlockingIOError:
            return
        if signal.SIGTERM in caught and not os.path.exists(self.path("stop.json")):
            text = "its supervisor was told to end (SIGTERM) from outside; perhaps the machine shuts down"
            self.give_order("supervisor_died", text, self.grace_s)

    def read_stop(self) -> None:
        stop = read_json(self.path("stop.json"))
        if stop is not None:
            self.give_order("stopped", str(stop.get("reason", "")), float(stop.get("grace_s", self.grace_s)))

    def give_order(self, kind: str, message: str, grace_s: float) -> None:
        """The first order stands; a later one can only shorten the time that is left."""
        if self.order is None:
            self.order = _Order(kind, message, time.monotonic())
            self.log.say(f"ending it, with {grace_s:g} s of grace: {message or kind}")
        self.tree.kill_by(self.order.at + max(grace_s, LEAST_GRACE_S))

    # What is written --------------------------------------------------------------------------------------------

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def filled(self, text: str) -> str:
        port = self.state["port"]
        text = text.replace("{member_dir}", self.folder)
        return text.replace("{port}", str(port)) if port else text

    def environment(self) -> dict[str, str]:
        env = dict(self.base_env)
        env.update({name: value.replace("{member_dir}", self.folder) for name, value in self.member["env"].items()})
        if self.state["port"]:
            env["PORT"] = str(self.state["port"])
        env["AMPACITY_MEMBER_DIR"] = self.folder
        env["AMPACITY_FACTS"] = self.member["facts"]
        env[MARK] = self.tree.mark
        env.update(self.secret_env)
        return env

    def report(self, fact: str, *, at: float | None = None, **more: Any) -> None:
        key = {name: self.member[name] for name in ("attempt", "member", "epoch")}
        line = {"fact": fact, "key": key, "at": time.time() if at is None else at, **more}
        try:
            append_fact(self.member["facts"], line)
        except OSError as error:
            self.log.say(f"the fact {fact} could not be reported: {error}")


def _shell() -> str:
    return "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
