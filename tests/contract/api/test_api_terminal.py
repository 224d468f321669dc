"""A terminal's connection at the socket: who may, what is refused, what garbage does."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plane_double import PlaneDouble
from plane_server import TOKEN, serving

from ampacity.api.frames import UPGRADE, Broken, Kind, Reader, frame
from ampacity.api.server import RunningServer
from ampacity.drivers.local.terminal import LocalExec
from ampacity.drivers.supervisor.enter import CANNOT_ENTER
from ampacity.drivers.supervisor.processes import MARK

TARGET = "/api/v1/workloads/job/exec?command="


@pytest.fixture
def member(tmp_path: Path) -> Iterator[int]:
    """A process that stands for a member's, whose folder is named as its mark."""
    read, write = os.pipe()
    pid = os.spawnve(os.P_NOWAIT, "/bin/sh", ["sh", "-c", "exec sleep 600"], {MARK: "m", "PATH": os.environ["PATH"]})
    (tmp_path / "m").mkdir()
    for fd in (read, write):
        os.close(fd)
    yield pid
    os.kill(pid, 9)
    os.waitpid(pid, 0)


class ExecPlane(PlaneDouble):
    """Runs commands beside a process of the test's."""

    def attach(self, folder: Path, pid: int) -> None:
        self.member_folder, self.pid, self.commands = folder, pid, []

    def exec(self, ref, argv, *, terminal, **how):  # type: ignore[no-untyped-def]
        self._called("exec")
        made = LocalExec(
            str(self.member_folder / "m"),
            self.pid,
            argv,
            workdir="/",
            supervisor_pidfd=os.pidfd_open(self.pid),
            terminal=terminal,
        )
        self.commands.append(made)
        return made


@pytest.fixture
def running(member: int, tmp_path: Path) -> Iterator[tuple[RunningServer, ExecPlane]]:
    plane = ExecPlane()
    plane.attach(tmp_path, member)
    with serving(plane) as server:
        yield server, plane


def ask(server: RunningServer, command: object, *headers: str) -> tuple[socket.socket, bytes]:
    """The connection, and the head of the answer."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(server.socket_path)
    text = httpx.QueryParams({"command": json.dumps(command)})
    lines = [f"GET /api/v1/workloads/job/exec?{text} HTTP/1.1", "Host: localhost", *headers]
    sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += sock.recv(1)
    return sock, head


UP = ("Connection: Upgrade", f"Upgrade: {UPGRADE}")


def heard(sock: socket.socket) -> list[tuple[Kind, bytes]]:
    reader, found = Reader(), []
    while data := sock.recv(65536):
        found.extend(reader.feed(data))
    return found


def test_a_command_is_run_over_the_connection(running: tuple[RunningServer, ExecPlane]) -> None:
    server, _ = running
    sock, head = ask(server, ["sh", "-c", "cat; echo done >&2; exit 3"], *UP)
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"x-ampacity-version" in head
    sock.sendall(frame(Kind.START) + frame(Kind.STDIN, b"typed") + frame(Kind.STDIN))
    frames = heard(sock)
    assert b"".join(content for kind, content in frames if kind is Kind.STDOUT) == b"typed"
    assert b"".join(content for kind, content in frames if kind is Kind.STDERR) == b"done\n"
    assert frames[-1] == (Kind.EXIT, b'{"code":3,"reason":""}')
    sock.close()


@pytest.mark.parametrize(
    "garbage",
    [
        frame(Kind.STDIN, b"before the start"),
        frame(Kind.START) + struct.pack(">BI", 99, 0),
        frame(Kind.START) + struct.pack(">BI", Kind.STDIN, 1 << 31),
        frame(Kind.START) + frame(Kind.EXIT, b"{}"),
        frame(Kind.START) + frame(Kind.RESIZE, b"no json"),
        b"GET / HTTP/1.1\r\n\r\n",
        b"",
    ],
)
def test_garbage_ends_the_connection_and_the_command(running: tuple[RunningServer, ExecPlane], garbage: bytes) -> None:
    server, plane = running
    sock, head = ask(server, ["sleep", "600"], *UP)
    assert head.startswith(b"HTTP/1.1 101 ")
    sock.sendall(garbage)
    sock.shutdown(socket.SHUT_WR)
    assert heard(sock) == []
    sock.close()
    assert plane.commands[0].exit_code() in (CANNOT_ENTER, 129, 137)  # its terminal may be gone before it begins
    with httpx.Client(transport=httpx.HTTPTransport(uds=server.socket_path), trust_env=False) as http:
        assert http.get("http://localhost/api/v1/status").status_code == 200


def test_without_an_upgrade_it_is_refused(unix: httpx.Client, plane: PlaneDouble) -> None:
    plane.add("job", created_at=1.0)
    for headers in ({}, {"Connection": "Upgrade", "Upgrade": "websocket"}, {"Upgrade": UPGRADE}):
        refused = unix.get('/workloads/job/exec?command=["true"]', headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (426, "bad_request")
        assert UPGRADE in refused.json()["error"]["hint"]


def test_refusals_come_before_the_connection_is_taken_over(server: RunningServer, plane: PlaneDouble) -> None:
    plane.add("job", created_at=1.0)
    for command, status in ((["true"], b"409"), ([], b"422"), ("true", b"422"), (["a\0b"], b"422"), ([1], b"422")):
        sock, head = ask(server, command, *UP)
        assert head.startswith(b"HTTP/1.1 " + status)
        sock.close()


def test_over_tcp_it_asks_for_the_token(server: RunningServer, plane: PlaneDouble) -> None:
    for headers, status in (((), b"401"), ((f"Authorization: Bearer {TOKEN}",), b"404")):
        with socket.create_connection(("127.0.0.1", server.port), 20) as sock:
            lines = [f'GET {TARGET}["true"] HTTP/1.1', "Host: localhost", *UP, *headers]
            sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            assert sock.recv(12) == b"HTTP/1.1 " + status


def test_the_server_stops_with_a_terminal_open(member: int, tmp_path: Path) -> None:
    plane = ExecPlane()
    plane.attach(tmp_path, member)
    with serving(plane) as server:
        sock, _ = ask(server, ["sleep", "600"], *UP)
        sock.sendall(frame(Kind.START))
    assert heard(sock) == []
    assert plane.commands[0].exit_code() in (CANNOT_ENTER, 129, 137)  # its terminal may be gone before it begins


@given(st.lists(st.tuples(st.sampled_from(list(Kind)), st.binary(max_size=20))), st.integers(1, 9))
def test_frames_come_whole_however_they_are_cut(frames: list[tuple[Kind, bytes]], size: int) -> None:
    data = b"".join(frame(kind, content) for kind, content in frames)
    reader, found = Reader(), []
    for start in range(0, len(data), size):
        found.extend(reader.feed(data[start : start + size]))
    assert found == frames


@given(st.binary(max_size=40))
def test_any_bytes_are_frames_or_broken(data: bytes) -> None:
    try:
        for kind, _ in Reader().feed(data):
            assert isinstance(kind, Kind)
    except Broken:
        pass
