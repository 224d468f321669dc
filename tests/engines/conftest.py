"""Servers that the tests here start for themselves, and skip without, saying so. In CI nothing may be missing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgresql_server import PROGRAMS, PostgresqlServer


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    found = sorted(
        path
        for pattern in PROGRAMS
        for path in Path("/").glob(pattern[1:])
        if all((path / name).exists() for name in ("initdb", "postgres", "psql"))
    )
    if not found:
        missing = "PostgreSQL is missing: apt-get install postgresql"
        assert not os.environ.get("CI"), missing
        pytest.skip(missing)
    user = "postgres" if os.getuid() == 0 else None  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    if user is not None:
        shutil.chown(folder, user)
    server = PostgresqlServer(folder, found[-1], user)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)
