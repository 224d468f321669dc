"""What is done about members whose supervisor is gone, and about ends that were not reported."""

from __future__ import annotations

import logging
import signal
import time

from ampacity.drivers.supervisor import secrets
from ampacity.drivers.supervisor.output import Log
from ampacity.drivers.supervisor.processes import MARK, boot_id, carrying, is_process, send
from ampacity.model.attempt import Cause, CauseKind
from ampacity.model.ids import MemberKey

from .facts_file import FactsFile
from .folder import MemberFolder, SupervisorState

LOCK_TIMEOUT_S = 5.0
SWEEP_TIMEOUT_S = 10.0
UNCLEAR_S = 1.0
"""How long processes without any environment are taken for ones in the midst of an exec."""

_WAIT_S = 0.01
_log = logging.getLogger(__name__)


def settle(folder: MemberFolder, key: MemberKey, facts: FactsFile) -> bool:
    """Bring a member to its reported end, if it has one: ``True`` = it has ended and the fact is written.

    A member that its supervisor left without ``exit.json`` gets one here, under its lock and after all that carries
    its mark has been ended. A member that a supervisor holds, or that was never begun, is left as it is.
    Safe to repeat. Raises ``OSError``.
    """
    fact = folder.exit(key)
    if fact is None and folder.exists():
        _conclude(folder, key)
        fact = folder.exit(key)
    if fact is None:
        return False
    secrets.remove(secrets.folder_of(folder.path))
    if not facts.has_exit(key):
        facts.append(fact)
    return True


def lives(state: SupervisorState) -> bool:
    return is_process(state.pid, state.pid_start, state.boot_id)


def _conclude(folder: MemberFolder, key: MemberKey) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        with folder.locked() as ours:
            if ours:
                cause = None if folder.has("exit.json") else _cause(folder, key)
                if cause is not None:
                    folder.write_exit(time.time(), cause)
                return
        state = folder.state()
        if state is None or lives(state) or time.monotonic() > deadline:
            return
        time.sleep(_WAIT_S)


def _cause(folder: MemberFolder, key: MemberKey) -> Cause | None:
    state = folder.state()
    rebooted = folder.is_of_another_boot() or (state is not None and state.boot_id != boot_id())
    if not folder.has("state.json") and not rebooted:
        stop = folder.stop()
        return None if stop is None else Cause(kind=CauseKind.STOPPED, message=str(stop.get("reason", "")))
    if rebooted:
        kind, message = CauseKind.NODE_REBOOTED, "the machine was restarted while it ran"
    else:
        _sweep(folder, key)
        kind = CauseKind.SUPERVISOR_DIED
        message = f"its supervisor (pid {state.pid}) was killed" if state else "its supervisor is gone"
    lines = Log(folder.file("output.log")).last_lines()
    return Cause(kind=kind, message=message, last_lines=tuple(lines))


def _sweep(folder: MemberFolder, key: MemberKey) -> None:
    """End everything that is in the member's cgroup or carries its mark. Done when two looks in a row found nothing,
    and nobody who could be in the midst of an exec: such a one shows no mark."""
    begun = time.monotonic()
    state = folder.state()
    group = folder.cgroup()
    empty_looks = 0
    while empty_looks < 2:
        found, unclear = carrying(f"{MARK}={key}".encode(), state.pid_start if state else 0)
        left = found | group.pids()
        if left:
            group.kill()
        send(left, signal.SIGKILL)
        passed_s = time.monotonic() - begun
        empty_looks = 0 if left or (unclear and passed_s < UNCLEAR_S) else empty_looks + 1
        if left and passed_s > SWEEP_TIMEOUT_S:
            _log.error("member %s: the processes %s do not end", key, sorted(left))
            return
        time.sleep(_WAIT_S)
    group.remove()
