"""One thread that sleeps until a fact is written or a supervisor ends."""

from __future__ import annotations

import ctypes
import logging
import os
import select
import threading
from collections.abc import Callable

from ampacity.model.ids import MemberKey

_IN_MODIFY = 0x2
_IN_NONBLOCK = os.O_NONBLOCK
_IN_CLOEXEC = os.O_CLOEXEC
LOOK_AGAIN_S = 0.5
RETRY_S = 1.0
_log = logging.getLogger(__name__)


class Watcher:
    """Watches one file and any number of processes.

    Args:
        path: the file; ``changed`` is called when it has grown.
        begin: called once in the thread, first.
        changed, ended: called in the thread. When ``ended`` raises ``OSError`` it is called again a little later.
    """

    def __init__(
        self,
        path: str,
        *,
        begin: Callable[[], None],
        changed: Callable[[], None],
        ended: Callable[[MemberKey], None],
    ) -> None:
        self._path = path
        self._begin = begin
        self._changed = changed
        self._ended = ended
        self._poll = select.epoll()
        self._pidfds: dict[int, MemberKey] = {}
        self._again: list[MemberKey] = []
        self._lock = threading.Lock()
        self._closing = False
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._inotify = _watch_file(path)
        self._size = os.stat(path).st_size
        self._poll.register(self._bell, select.EPOLLIN)
        if self._inotify is not None:
            self._poll.register(self._inotify, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="local-driver-watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def watch(self, key: MemberKey, pidfd: int) -> None:
        """Report when that process ends. The descriptor is the watcher's from now on."""
        with self._lock:
            if self._closing or key in self._pidfds.values():
                os.close(pidfd)
                return
            self._pidfds[pidfd] = key
            self._poll.register(pidfd, select.EPOLLIN)

    def look_again(self, key: MemberKey) -> None:
        """Report that the member's supervisor has ended, from the thread."""
        with self._lock:
            self._again.append(key)
        os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        with self._lock:
            if self._closing:
                return
            self._closing = True
        os.eventfd_write(self._bell, 1)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
        for fd in (*self._pidfds, self._bell, self._inotify):
            if fd is not None:
                os.close(fd)
        self._pidfds.clear()
        self._poll.close()

    def _run(self) -> None:
        self._begin()
        retry = False
        while not self._closing:
            for fd, _ in self._poll.poll(self._patience_s(retry)):
                self._take(fd)
            if self._inotify is None:
                self._look_at_size()
            retry = self._report_ended()

    def _patience_s(self, retry: bool) -> float | None:
        if retry:
            return RETRY_S
        return LOOK_AGAIN_S if self._inotify is None else None

    def _take(self, fd: int) -> None:
        if fd == self._bell:
            os.eventfd_read(fd)
        elif fd == self._inotify:
            os.read(fd, 65_536)
            self._changed()
        else:
            with self._lock:
                key = self._pidfds.pop(fd, None)
                if key is None:
                    return
                self._poll.unregister(fd)
                os.close(fd)
                self._again.append(key)

    def _report_ended(self) -> bool:
        """Whether some could not be dealt with and have to be tried again."""
        with self._lock:
            keys, self._again = self._again, []
        failed = []
        for key in keys:
            try:
                self._ended(key)
            except OSError as error:
                _log.warning("the end of member %s cannot be settled now: %s", key, error)
                failed.append(key)
        if failed:
            with self._lock:
                self._again.extend(failed)
        return bool(failed)

    def _look_at_size(self) -> None:
        size = os.stat(self._path).st_size
        if size != self._size:
            self._size = size
            self._changed()


def _watch_file(path: str) -> int | None:
    """An inotify descriptor (inotify(7)); ``None`` when the user has used up his share of them."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.inotify_init1(_IN_NONBLOCK | _IN_CLOEXEC))
    if fd < 0:
        _log.warning("inotify is not to be had (%s): looking twice a second", os.strerror(ctypes.get_errno()))
        return None
    if libc.inotify_add_watch(fd, os.fsencode(path), _IN_MODIFY) < 0:
        _log.warning("%s cannot be watched (%s): looking twice a second", path, os.strerror(ctypes.get_errno()))
        os.close(fd)
        return None
    return fd
