"""Talking to the warm parent, and starting it when it is gone."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from ampacity.drivers import supervisor
from ampacity.drivers.base import Launch
from ampacity.model.errors import DriverUnavailable, LaunchFailed

START_TIMEOUT_S = 30.0
REPLY_TIMEOUT_S = 20.0
CONNECT_AGAIN_S = 0.02
PARENT_SCRIPT = Path(supervisor.__file__).parent / "parent.py"


class ParentLink:
    """One per state folder. While it is open, one connection is kept to the parent, which ends some time after the
    last one is gone. Safe to use from several threads."""

    def __init__(self, folder: Path, *, python: str = sys.executable) -> None:
        self._folder = folder
        self._python = python
        self._folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._lock = threading.Lock()
        self._lease: socket.socket | None = None

    def warm(self) -> None:
        """Have the parent running. Raises ``DriverUnavailable``."""
        self._connect().close()

    def ask(
        self, member_folder: str, env: Mapping[str, str], secrets: Mapping[str, Mapping[str, str]] | None = None
    ) -> str:
        """Have the member held, with these secrets (see ``supervisor.secrets``).

        Answers the supervisor's word (see ``supervise.run``), or nothing when it ended without one. Raises
        ``DriverUnavailable``.
        """
        request = json.dumps({"folder": member_folder, "env": dict(env), "secrets": secrets or {}}).encode() + b"\n"
        for _ in range(2):
            try:
                with self._connect() as connection:
                    connection.settimeout(REPLY_TIMEOUT_S)
                    connection.sendall(request)
                    reply = b""
                    while not reply.endswith(b"\n") and (data := connection.recv(4096)):
                        reply += data
            except TimeoutError as error:
                raise DriverUnavailable("the supervisor did not answer in time") from error
            except OSError:
                continue
            if reply.endswith(b"\n"):
                return str(json.loads(reply)["answer"])
        return ""

    def close(self) -> None:
        with self._lock:
            if self._lease is not None:
                self._lease.close()
                self._lease = None
            os.close(self._folder_fd)

    def _connect(self) -> socket.socket:
        with self._lock:
            connection = self._try_connect()
            if connection is None:
                connection = self._start_and_connect()
            if self._lease is None:
                self._lease = self._try_connect()
            return connection

    def _start_and_connect(self) -> socket.socket:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            word = self._start()
            connection = self._try_connect()
            if connection is not None:
                if self._lease is not None:
                    self._lease.close()
                    self._lease = None
                return connection
            if word == "taken":
                time.sleep(CONNECT_AGAIN_S)
        raise DriverUnavailable(f"the supervisors' parent in {self._folder} does not answer")

    def _try_connect(self) -> socket.socket | None:
        """By the folder's descriptor: a socket's own path may be at most 107 bytes long."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(f"/proc/self/fd/{self._folder_fd}/parent.sock")
        except OSError:
            connection.close()
            return None
        return connection

    def _start(self) -> str:
        """``ready``, or ``taken`` when another one has the folder (it may just be beginning or ending)."""
        command = [self._python, "-I", "-S", str(PARENT_SCRIPT), str(self._folder)]
        try:
            with open(self._folder / "parent.log", "ab") as log:
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                    timeout=START_TIMEOUT_S,
                    check=False,
                )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DriverUnavailable(f"the supervisors' parent cannot be started: {error}") from error
        word = done.stdout.decode().strip()
        if word not in ("ready", "taken"):
            raise DriverUnavailable(
                f"the supervisors' parent ended with exit code {done.returncode}",
                hint=f"See {self._folder / 'parent.log'}.",
            )
        return word


def handed_over(launch: Launch) -> dict[str, dict[str, str]]:
    """The secrets of a launch, for the supervisor's ears only: they go over its parent's socket and to no file.

    Raises ``LaunchFailed`` for a variable that cannot be one.
    """
    for name, value in launch.secret_envs.items():
        if b"\0" in value:
            raise LaunchFailed(f"the secret {name} holds a zero byte", hint="Ask for it as a file.")
    envs = {name: os.fsdecode(value) for name, value in launch.secret_envs.items()}
    files = {name: base64.b64encode(value).decode() for name, value in launch.secret_files.items()}
    return {"envs": envs, "files": files} if envs or files else {}
