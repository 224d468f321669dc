"""The sockets that the server listens on: opened by the caller's thread, so that it sees what goes wrong."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from contextlib import suppress

from ampacity.model.errors import InvalidSpec, PortInUse, StateFolderBusy, UserError, Where

MAX_SOCKET_PATH_BYTES = 107
"""``sun_path`` holds 108 bytes with its final zero (unix(7))."""

BACKLOG = 128


def listen_unix(path: str) -> socket.socket:
    """A listening Unix socket at the path, mode 0600 from its first moment. A socket that nobody serves is replaced.

    Raises:
        StateFolderBusy: somebody answers there.
        UserError: the path is too long, or holds something that is no socket.
    """
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        hint = "Use a state folder with a shorter path."
        raise UserError(f"{path} is longer than the {MAX_SOCKET_PATH_BYTES} bytes of a socket's path.", hint=hint)
    _refuse_living(path)
    private = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}"[:2])
    with suppress(FileNotFoundError):
        os.unlink(private)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(private)
        os.chmod(private, 0o600)
        sock.listen(BACKLOG)
        os.rename(private, path)
    except OSError as error:
        sock.close()
        raise UserError(f"Cannot listen on {path}: {error.strerror}.") from error
    return sock


def _refuse_living(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise UserError(f"{path} is in the way: it is no socket.", hint="Move it away.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except OSError as error:
            raise StateFolderBusy(f"{path} cannot be taken over: {error.strerror or error}.") from error
    raise StateFolderBusy(f"A control plane answers at {path} already.", hint="Stop it first with `ampacity down`.")


def listen_tcp(host: str, port: int) -> socket.socket:
    """A listening TCP socket on the loopback interface; port 0 = a free one.

    Raises:
        InvalidSpec: the host is not of the loopback interface.
        PortInUse: the port is taken.
    """
    address = _loopback(host)
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        sock = socket.create_server((str(address), port), family=family, backlog=BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(
                f"Port {port} of {host} is in use.", hint="Give another port, or 0 for a free one."
            ) from error
        raise UserError(f"Cannot listen on {host} port {port}: {error.strerror or error}.") from error
    # Accepted sockets inherit it. asyncio sets it only where a socket knows its protocol by number, which these do not;
    # without it the second answer on a connection waits 40 ms for the client's delayed acknowledgement.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _loopback(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    with suppress(ValueError):
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host.strip("[]"))
        if address.is_loopback:
            return address
    raise InvalidSpec(
        f"{host!r} is not of the loopback interface.", where=Where(key="host"), hint="Give 127.0.0.1, ::1 or localhost."
    )
