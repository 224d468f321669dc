"""A PostgreSQL server that a test starts for itself."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

PROGRAMS = ("/usr/lib/postgresql/*/bin", "/usr/local/bin", "/usr/bin")

SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{folder}'
log_min_messages = fatal
fsync = off
"""
"""Processes are killed here, never machines: what was written to files stays without being forced to the disk, and a
stop need not force the files of every test's database one by one."""

DEADLINE_S = 300  # against a test that would hang; how quick a server is decides nothing


class PostgresqlServer:
    """A server of its own in a folder of its own, on a Unix socket alone."""

    def __init__(self, folder: Path, programs: Path, user: str | None) -> None:
        self.folder, self._programs, self._user = folder, programs, user
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", str(self._data), "-U", "ampacity", "--auth=trust", "--no-sync")
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS.format(folder=folder))
        self.start()

    def url(self, database: str = "postgres", user: str = "ampacity") -> str:
        return f"postgresql://{user}@/{database}?host={self.folder}"

    def new_database(self, name: str) -> str:
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def sql(self, statement: str, database: str = "postgres") -> str:
        address = ("-h", str(self.folder), "-U", "ampacity", "-d", database)
        return self._run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", *address, "-c", statement).strip()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._programs / "postgres", "-D", self._data],
            user=self._user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                self.sql("SELECT 1")
                return
            except subprocess.CalledProcessError:
                assert time.monotonic() < deadline, "the server did not come up"
                time.sleep(0.05)

    def stop(self, signum: int = signal.SIGINT) -> None:
        """SIGINT ends it at once and in order; SIGQUIT as if it had crashed."""
        assert self._process is not None
        self._process.send_signal(signum)
        self._process.wait(DEADLINE_S)

    def restart(self, signum: int = signal.SIGINT) -> None:
        self.stop(signum)
        self.start()

    def _run(self, program: str, *arguments: str) -> str:
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(command, user=self._user, capture_output=True, text=True, check=True, cwd="/")
        return done.stdout
