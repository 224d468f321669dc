"""What a command inside a member leaves behind ends with it, also what cannot be recognised for a moment."""

from __future__ import annotations

import os

from driver_bench import wait_until

from ampacity.drivers.supervisor.processes import carrying

ROUNDS = 12
EXECS_FOR_EVER = """#!/bin/sh
exec "$0"
"""


def test_what_is_always_in_the_midst_of_an_exec_is_ended(bench, tmp_path):
    """An exec takes the environment away for a moment, and with it the mark by which what is left is found."""
    script = tmp_path / "again"
    script.write_text(EXECS_FOR_EVER)
    script.chmod(0o700)
    key = bench.start("sh", "-c", "echo up; exec sleep 1000")
    bench.wait_text(key, "up")
    for number in range(ROUNDS):
        command = bench.driver.exec(key, ("sh", "-c", f"ROUND={number} setsid {script} >/dev/null 2>&1 & exit 0"))
        assert command.exit_code() == 0
        command.close()
        assert not is_seen(f"ROUND={number}".encode())


def is_seen(entry: bytes) -> bool:
    """Looked at so often that no exec hides it."""
    return any(carrying(entry)[0] for _ in range(20))


def test_who_has_no_environment_is_told_apart():
    reading, writing = os.pipe()
    child = os.posix_spawn("/bin/sh", ["sh", "-c", "read _"], {}, file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0)])
    try:
        wait_until(lambda: child in carrying(b"X=1")[1], "its exec")
        began_later = 1 << 60
        assert child not in carrying(b"X=1", began_later)[1]
        assert 2 not in carrying(b"X=1")[1], "a kernel thread"
    finally:
        os.close(writing)
        os.waitpid(child, 0)
        os.close(reading)
    assert child not in carrying(b"X=1")[1]
