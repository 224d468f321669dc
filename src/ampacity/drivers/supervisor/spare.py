"""A process forked beforehand, that becomes the next supervisor: a start need not wait for a fork."""

from __future__ import annotations

import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

LARGEST_REQUEST_BYTES = 65_536
"""What fits a socket's buffer for sure: handing over must never wait."""


class Spare:
    """The parent's view of it. It ends by itself when the parent does.

    Args:
        prepare: called in the new process, with the one descriptor that it keeps.
        become: called with the request and its client's socket once there is one; it does not return.
    """

    __slots__ = ("_link",)

    def __init__(self, prepare: Callable[[int], None], become: Callable[[socket.socket, bytes], NoReturn]) -> None:
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            its.close()
            raise
        if pid == 0:
            _wait(its, prepare, become)
        its.close()
        self._link = ours

    def take(self, request: bytes, client: socket.socket) -> bool:
        """Hand the request over. ``False``: it cannot be, somebody else has to. After this the spare is used up."""
        try:
            if len(request) > LARGEST_REQUEST_BYTES:
                return False
            return socket.send_fds(self._link, [request], [client.fileno()]) == len(request)
        except OSError:
            return False
        finally:
            self._link.close()


def _wait(
    link: socket.socket, prepare: Callable[[int], None], become: Callable[[socket.socket, bytes], NoReturn]
) -> NoReturn:
    """In the new process. A request that does not come whole is none: whoever sent it does without us."""
    try:
        prepare(link.fileno())
        request, fds, _, _ = socket.recv_fds(link, LARGEST_REQUEST_BYTES, 1)
        while request and not request.endswith(b"\n"):
            more = link.recv(LARGEST_REQUEST_BYTES)
            request = request + more if more else b""
        if not request or not fds:
            os._exit(0)
        link.close()
        become(socket.socket(fileno=fds[0]), request)
    finally:
        os._exit(70)
