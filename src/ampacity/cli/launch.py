"""Starting the control plane as a process of its own, and hearing from it how that went."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from ampacity.cli.session import Session
from ampacity.model.errors import AmpacityError, NotRunning, StateFolderBusy

START_TIMEOUT_S = 60.0
ANOTHER_ANSWERS_WITHIN_S = 30.0
LOG_NAME = "control.log"
LOG_KEPT_BYTES = 10_000_000
LAST_LINES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What ``up`` was told; ``None`` and empty = as it was the last time."""

    nodes: Sequence[str] = ()
    port: int | None = None
    gateway_port: int | None = None
    gateway_workers: int | None = None
    gateway_tls: str | None = None
    gateway_cert: str | None = None
    gateway_key: str | None = None
    store: str | None = None
    keep_finished_s: float | None = None
    keep_events_s: float | None = None

    def arguments(self) -> list[str]:
        given = [item for node in self.nodes for item in ("--node", node)]
        for field in (each.name for each in fields(self) if each.name != "nodes"):
            value = getattr(self, field)
            if value is not None:
                given += [f"--{field.replace('_', '-')}", str(value)]
        return given


def ensure_running(session: Session) -> None:
    """Start a control plane where none answers, and say so. Not for one that is somewhere else (``AMPACITY_URL``)."""
    if session.state is None and os.environ.get("AMPACITY_URL"):
        return
    if answers(session.state_dir):
        return
    from ampacity.cli.render.console import tell

    if start(session.state_dir, Options()) and not session.json:
        tell(f"Started a control plane in {session.state_dir}. `ampacity down` stops it.", style="dim")


def answers(state_dir: Path) -> bool:
    """Whether the folder's control plane is there. Raises ``Forbidden`` when the folder is another user's."""
    from ampacity.client import Client

    try:
        with Client(state_dir, timeout_s=5.0) as client:
            client.status()
    except NotRunning:
        return False
    return True


def start(state_dir: Path, options: Options) -> bool:
    """Start the daemon and return once it answers. ``False`` = another one was faster, and that one answers.

    Raises:
        AmpacityError: its own error, such as ``PortInUse``; or the end of its log when it died without one.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    read_fd, write_fd = os.pipe()
    try:
        process = _spawn(state_dir, options, write_fd)
    finally:
        os.close(write_fd)
    try:
        word = _hear(read_fd, time.monotonic() + START_TIMEOUT_S)
    finally:
        os.close(read_fd)
    if word is None:
        raise _silent(process, state_dir / LOG_NAME)
    if "error" not in word:
        return True
    from ampacity.api.wire import error_from_wire

    process.wait()
    error = error_from_wire(word["error"], status=500)
    if isinstance(error, StateFolderBusy) and _another_answers(state_dir):
        return False
    raise error


def _spawn(state_dir: Path, options: Options, ready_fd: int) -> subprocess.Popen[bytes]:
    # -P: the folder that `up` was typed in may hold a queue.py or logging.py, which is none of ours.
    python = [sys.executable, "-P", "-m", "ampacity.cli.daemon"]
    command = [*python, "--state", str(state_dir), "--ready-fd", str(ready_fd)]
    with open(_log_file(state_dir), "ab", opener=_private) as log:
        return subprocess.Popen(
            [*command, *options.arguments()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(ready_fd,),
            start_new_session=True,
        )


def _log_file(state_dir: Path) -> Path:
    """The log. One that has grown large is put aside first; one such is kept."""
    log = state_dir / LOG_NAME
    if log.exists() and log.stat().st_size > LOG_KEPT_BYTES:
        log.rename(state_dir / f"{LOG_NAME}.old")
    return log


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _hear(fd: int, until: float) -> dict[str, object] | None:
    """The daemon's word: ``{}`` or ``{"error": …}``. ``None`` = it died, or said nothing in time."""
    said = b""
    while not said.endswith(b"\n"):
        ready, _, _ = select.select([fd], [], [], max(0.0, until - time.monotonic()))
        chunk = os.read(fd, 65536) if ready else b""
        if not chunk:
            return None
        said += chunk
    word: dict[str, object] = json.loads(said)
    return word


def _silent(process: subprocess.Popen[bytes], log: Path) -> AmpacityError:
    try:
        code = process.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        process.terminate()
        message = f"The control plane did not come up within {START_TIMEOUT_S:g} s."
    else:
        message = f"The control plane ended while it started (exit code {code})."
    lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
    return AmpacityError("\n".join([message, *lines]), hint=f"Its whole log is {log}.")


def _another_answers(state_dir: Path) -> bool:
    """Whether the one that holds the folder answers; it may have only just begun."""
    until = time.monotonic() + ANOTHER_ANSWERS_WITHIN_S
    while not answers(state_dir):
        if time.monotonic() >= until:
            return False
        time.sleep(0.1)
    return True
