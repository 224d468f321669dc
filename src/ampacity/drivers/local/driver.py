"""The driver for this machine: it starts supervisors, reads what they wrote, and settles what they left."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec

from ampacity.drivers.base import Capabilities, FactPage, Handle, Launch, LogPage, TerminalSize
from ampacity.drivers.supervisor.disk import sync_folder
from ampacity.drivers.supervisor.processes import boot_id, parent_of, start_ticks
from ampacity.model.errors import (
    Conflict,
    DriverError,
    DriverUnavailable,
    InvalidSpec,
    LaunchFailed,
    NotFound,
    Unsupported,
)
from ampacity.model.ids import MemberKey, NodeId
from ampacity.model.node import Device, Node
from ampacity.model.resources import Allocation
from ampacity.observe.discovery.accelerators import accelerators

from .base_env import base_env
from .confine import Confinement
from .device_watch import LOOK_EVERY_S, DeviceWatch
from .facts_file import FactsFile
from .folder import MemberFolder, SupervisorState
from .handout import handed_out, refuse_covering
from .known_devices import KnownDevices
from .log_lines import read_log
from .machine import this_machine, with_devices
from .member_files import LocalMemberFiles
from .parent_link import ParentLink, handed_over
from .settle import settle
from .terminal import LocalExec
from .watcher import Watcher

HELD_TIMEOUT_S = 5.0
LOCKS = 64
FORGOTTEN = "forgotten"
FORGET_TOGETHER = 256
_LOOK_AGAIN_S = 0.005
_log = logging.getLogger(__name__)


class LocalDriver:
    """Members as processes of this user on this machine.

    Args:
        folder: the driver's own (``local`` in the state folder); made if absent.
        nodes: declared parts of this machine; none = the whole machine is one node.
        vendors: whose devices it has, see :func:`accelerators`.
        look_every_s: how often they are looked at.

    Members found in the folder are taken up again: those that run are watched, those whose supervisor is gone are
    brought to their end.

    Raises:
        InvalidSpec: two declared nodes have one name.
        OSError: the folder cannot be used.
    """

    name = "local"

    def __init__(
        self,
        folder: Path,
        nodes: Sequence[Node] = (),
        vendors: Sequence[str] | None = None,
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._folder = folder.absolute()
        (self._folder / "members").mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(self._folder / FORGOTTEN, ignore_errors=True)
        (self._folder / FORGOTTEN).mkdir(mode=0o700, exist_ok=True)
        boot = boot_id()
        declared = tuple(replace(node, driver=self.name, boot_id=boot) for node in nodes)
        for name in {node.id for node in declared if sum(other.id == node.id for other in declared) > 1}:
            raise InvalidSpec(f"two nodes are declared as {name}", hint="Give each its own name.")
        self._confinement = Confinement(self._folder)
        limits = self._confinement.description
        self._nodes = tuple(replace(node, limits=limits) for node in declared or (this_machine(self._folder),))
        self._bare, look = self._nodes[0], partial(accelerators, vendors)
        self._known_devices = KnownDevices(self._folder, self._bare.id, boot)
        if not declared:
            self._have_devices(self._known_devices.take(look()))
        self._base_env = base_env()
        self._facts = FactsFile(str(self._folder / "facts.jsonl"))
        self._parent = ParentLink(self._folder)
        self._wakes: list[Callable[[], None]] = []
        self._begun: set[MemberKey] = set()
        self._forgetting = threading.Lock()
        self._forgotten, self._forget_at = 0, FORGET_TOGETHER
        self._locks = tuple(threading.Lock() for _ in range(LOCKS))
        self._stop_locks = tuple(threading.Lock() for _ in range(LOCKS))
        self._watcher = Watcher(
            self._facts.path, begin=self._warm_parent, changed=self._wake, ended=self._supervisor_ended
        )
        self._take_up()
        self._watcher.start()
        self._device_watch = DeviceWatch(self._known_devices, look, self._devices_changed, every_s=look_every_s)
        if not declared:
            self._device_watch.start()

    def capabilities(self) -> Capabilities:
        return Capabilities(signal=True, logs=True, files=True, exec=True, mounts=True)

    def nodes(self) -> tuple[Node, ...]:
        return self._nodes

    def ensure_started(self, launch: Launch) -> Handle:
        folder = self._member(launch.key)
        handle = Handle(key=launch.key, node=launch.node, ref=folder.path)
        if launch.key in self._begun:
            return handle
        try:
            with self._lock_of(launch.key):
                begun = folder.has("state.json") or folder.has("exit.json") or folder.is_of_another_boot()
                if not begun:
                    self._begin(launch, folder)
                self._begun.add(launch.key)
                self._follow_or_later(launch.key, folder)
        except OSError as error:
            raise DriverUnavailable(f"member {launch.key} cannot be started now: {error}") from error
        return handle

    def ensure_stopped(self, key: MemberKey, *, grace_s: float, reason: str) -> None:
        folder = self._member(key)
        try:
            folder.make()
            with self._stop_lock_of(key):
                if not folder.has("exit.json"):
                    folder.write_stop(key, grace_s=grace_s, reason=reason)
                if folder.has("exit.json") or not folder.has("state.json"):
                    settle(folder, key, self._facts)
        except OSError as error:
            raise DriverUnavailable(f"member {key} cannot be stopped now: {error}") from error
        state = None if folder.has("exit.json") else folder.state()
        if state is not None:
            self._terminate(key, state)

    def facts(self, cursor: str | None, *, limit: int = 1000) -> FactPage:
        try:
            return self._facts.page(cursor, limit)
        except OSError as error:
            raise DriverUnavailable(f"{self._facts.path} cannot be read: {error}") from error

    def on_wake(self, wake: Callable[[], None]) -> None:
        self._wakes.append(wake)

    def signal(self, key: MemberKey, signum: int) -> None:
        """To the member's main process. Raises ``NotFound``; ``Conflict`` when none runs."""
        folder = self._known(key)
        state = folder.state()
        if state is None or state.child_pid is None or folder.has("exit.json"):
            raise Conflict(f"member {key} has no running process")
        try:
            pidfd = os.pidfd_open(state.child_pid)
        except ProcessLookupError as error:
            raise Conflict(f"member {key} has no running process") from error
        try:
            if parent_of(state.child_pid) != state.pid:
                raise Conflict(f"member {key} has no running process")
            signal.pidfd_send_signal(pidfd, signum)
        except ProcessLookupError as error:
            raise Conflict(f"member {key} has no running process") from error
        finally:
            os.close(pidfd)

    def logs(self, key: MemberKey, cursor: str | None, *, limit: int = 1000) -> LogPage:
        folder = self._known(key)
        return read_log(folder.file("output.log"), cursor, limit=limit, ended=folder.has("exit.json"))

    def files(self, key: MemberKey, path: str, *, offset: int = 0, limit: int = 1 << 20) -> bytes:
        return self._known(key).read_file(path, offset=offset, limit=limit)

    def member_files(self, key: MemberKey) -> LocalMemberFiles:
        folder = self._known(key)
        launch = folder.launch()
        if launch is None:
            raise NotFound(f"member {key} was never started here")
        return LocalMemberFiles(launch.workdir or folder.file("work"), folder.path)

    def exec(self, key: MemberKey, argv: tuple[str, ...], *, terminal: TerminalSize | None = None) -> LocalExec:
        folder = self._known(key)
        state, launch = folder.state(), folder.launch()
        pidfd = None if state is None or folder.has("exit.json") else _open_supervisor(state)
        if state is None or launch is None or pidfd is None:
            raise Conflict(f"member {key} does not run", hint="A command can be run in a job while it runs.")
        if state.child_pid is None or parent_of(state.child_pid) != state.pid:
            os.close(pidfd)
            raise Conflict(f"member {key} has no running process")
        workdir = launch.workdir or folder.file("work")
        return LocalExec(folder.path, state.child_pid, argv, workdir=workdir, supervisor_pidfd=pidfd, terminal=terminal)

    def resize(self, key: MemberKey, allocation: Allocation) -> None:
        raise Unsupported("the local driver cannot resize a running member")

    def forget(self, key: MemberKey) -> None:
        """Raises ``Conflict`` when the member has not ended."""
        folder = self._member(key)
        if not folder.exists():
            return
        if not folder.has("exit.json"):
            raise Conflict(f"member {key} has not ended", hint="Stop it first.")
        try:
            with self._lock_of(key):
                settle(folder, key, self._facts)
                folder.remove(by_way_of=str(self._folder / FORGOTTEN))
        except OSError as error:
            raise DriverUnavailable(f"the folder of member {key} cannot be removed: {error}") from error
        self._begun.discard(key)
        self._drop_facts_now_and_then()

    def close(self) -> None:
        self._wakes.clear()
        self._device_watch.close()
        self._watcher.close()
        self._parent.close()
        self._facts.close()

    def _drop_facts_now_and_then(self) -> None:
        """Often enough that what is kept of forgotten members stays small, seldom enough that it costs nothing."""
        with self._forgetting:
            self._forgotten += 1
            if self._forgotten < self._forget_at:
                return
            members = self._folder / "members"
            try:
                sync_folder(str(members))
                stay = self._facts.drop(lambda member: not os.path.exists(members / member))
            except OSError as error:
                _log.warning("facts of forgotten members cannot be dropped now: %s", error)
                return
            self._forgotten, self._forget_at = 0, max(FORGET_TOGETHER, stay // 4)

    # Inside -----------------------------------------------------------------------------------------------------

    def _lock_of(self, key: MemberKey) -> threading.Lock:
        """Held while a member is begun, settled or forgotten: two threads must not work on its folder at once."""
        return self._locks[hash(key) % len(self._locks)]

    def _stop_lock_of(self, key: MemberKey) -> threading.Lock:
        """Another one than for starting: a stop must not wait for a start that hangs."""
        return self._stop_locks[hash(key) % len(self._stop_locks)]

    def _member(self, key: MemberKey) -> MemberFolder:
        name = str(key)
        if "/" in name or name.startswith(".") or "\0" in name:
            raise NotFound(f"{name!r} is not a member's name")
        return MemberFolder(str(self._folder / "members" / name))

    def _known(self, key: MemberKey) -> MemberFolder:
        folder = self._member(key)
        if not folder.exists():
            raise NotFound(f"no member {key} here")
        return folder

    def _begin(self, launch: Launch, folder: MemberFolder) -> None:
        node = self._node(launch.node)
        refuse_covering(launch, self._folder)
        out = handed_out(launch, node, self._confinement, self._device_watch)
        folder.write_launch(
            launch,
            env=out.env,
            address=node.address,
            facts=self._facts.path,
            extra=out.extra,
            device_uuids=out.device_uuids,
        )
        answer = self._parent.ask(folder.path, self._base_env, handed_over(launch))
        if answer in ("started", "exited", "known", "fenced"):
            return
        deadline = time.monotonic() + (HELD_TIMEOUT_S if answer == "held" else 0.0)
        while not folder.has("state.json") and not folder.has("exit.json"):
            if time.monotonic() >= deadline:
                raise DriverUnavailable(
                    f"no supervisor took member {launch.key} ({answer or 'no answer'})",
                    hint=f"See {self._folder / 'parent.log'}.",
                )
            time.sleep(_LOOK_AGAIN_S)

    def _node(self, name: NodeId) -> Node:
        for node in self._nodes:
            if node.id == name:
                return node
        raise LaunchFailed(
            f"there is no node {name} here", hint=f"The nodes are {', '.join(node.id for node in self._nodes)}."
        )

    def _take_up(self) -> None:
        entries = sorted(os.listdir(self._folder / "members"))
        for group in self._confinement.leftovers(self._may_run):
            group.remove()
        for entry in entries:
            folder = MemberFolder(str(self._folder / "members" / entry))
            if folder.has("exit.json") and self._facts.has_exit_of(entry):
                continue
            try:
                key = folder.key()
            except (KeyError, msgspec.ValidationError) as error:
                _log.warning("%s is not a member's folder: %s", folder.path, error)
                continue
            if key is None:
                continue
            if folder.has("state.json") or folder.has("exit.json") or folder.is_of_another_boot():
                self._begun.add(key)
            self._follow_or_later(key, folder)

    def _may_run(self, member: str) -> bool:
        folder = MemberFolder(str(self._folder / "members" / member))
        return folder.exists() and not folder.has("exit.json")

    def _follow_or_later(self, key: MemberKey, folder: MemberFolder) -> None:
        try:
            self._follow(key, folder)
        except OSError as error:
            _log.warning("member %s cannot be watched now: %s", key, error)
            self._watcher.look_again(key)

    def _follow(self, key: MemberKey, folder: MemberFolder) -> None:
        """Watch the supervisor that holds the member, or settle the member when none does."""
        state = None if folder.has("exit.json") else folder.state()
        pidfd = None if state is None else _open_supervisor(state)
        if pidfd is not None:
            self._watcher.watch(key, pidfd)
        else:
            settle(folder, key, self._facts)

    def _supervisor_ended(self, key: MemberKey) -> None:
        folder = self._member(key)
        with self._lock_of(key):
            if folder.exists():
                self._follow(key, folder)

    def _terminate(self, key: MemberKey, state: SupervisorState) -> None:
        pidfd = _open_supervisor(state)
        if pidfd is None:
            self._watcher.look_again(key)
            return
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        except ProcessLookupError:
            self._watcher.look_again(key)
        finally:
            os.close(pidfd)

    def _warm_parent(self) -> None:
        try:
            self._parent.warm()
        except DriverError as error:
            _log.warning("%s", error)

    def _devices_changed(self, devices: tuple[Device, ...]) -> None:
        self._have_devices(devices)
        self._wake()

    def _have_devices(self, devices: tuple[Device, ...]) -> None:
        self._nodes = (with_devices(self._bare, devices, self._known_devices.seen),)

    def _wake(self) -> None:
        for wake in tuple(self._wakes):
            wake()


def _open_supervisor(state: SupervisorState) -> int | None:
    """A pidfd of that very process; ``None`` when it is gone. Opened first and looked at then: what a pidfd names
    cannot become another process."""
    if state.boot_id != boot_id():
        return None
    try:
        pidfd = os.pidfd_open(state.pid)
    except ProcessLookupError:
        return None
    if start_ticks(state.pid) == state.pid_start:
        return pidfd
    os.close(pidfd)
    return None


def open_driver(folder: Path, nodes: Sequence[Node]) -> LocalDriver:
    """For the registry."""
    return LocalDriver(folder, nodes)
