"""All processes of a member, however they hid, and how they are brought to their end."""

from __future__ import annotations

import os
import signal
import time

from . import prctl
from .processes import descendants, group_of, marked, send, send_to_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .cgroup import Cgroup

KILL_AGAIN_S = 0.1
KILL_AGAIN_SLOWLY_S = 1.0
KILL_SLOWLY_AFTER_S = 10.0
"""How long until SIGKILL is repeated for what is still there: new forks, or processes stuck in the kernel."""


class Tree:
    """What is below the calling process, in the member's cgroup, or carries its mark.

    ``adopts``: orphans become children of the calling process. ``kill_at``: when SIGKILL is due (monotonic).
    """

    __slots__ = ("_asked", "_group", "_kill_again_at", "adopts", "kill_at", "mark")

    def __init__(self, mark: str, group: Cgroup) -> None:
        self.mark = mark
        self._group = group
        self._asked: set[int] = set()
        self._kill_again_at = 0.0
        self.adopts = prctl.adopt_orphans()
        self.kill_at: float | None = None

    def pids(self) -> set[int]:
        """All of it, without the calling process."""
        return (descendants(os.getpid()) | marked(self.mark) | self._group.pids()) - {os.getpid()}

    def is_gone(self) -> bool:
        """Whether nothing is left, for a caller who has no children any more."""
        return not (self._group.pids() if self.adopts else self.pids())

    def ask(self, leader: int) -> None:
        """SIGTERM to the process group of the command, once."""
        if leader not in self._asked:
            self._asked |= {pid for pid in descendants(os.getpid()) if group_of(pid) == leader} | {leader}
            send_to_group(leader, signal.SIGTERM)

    def ask_rest(self) -> int:
        """SIGTERM to what was not asked before. Answers how many there are."""
        rest = self.pids()
        send(rest - self._asked, signal.SIGTERM)
        return len(rest)

    def kill_by(self, at: float) -> None:
        """Have SIGKILL due then, unless it is earlier."""
        self.kill_at = at if self.kill_at is None else min(self.kill_at, at)

    def kill_if_due(self, now: float) -> None:
        if self.kill_at is None or now < max(self.kill_at, self._kill_again_at):
            return
        self._group.kill()
        send(self.pids(), signal.SIGKILL)
        slowly = now > self.kill_at + KILL_SLOWLY_AFTER_S
        self._kill_again_at = time.monotonic() + (KILL_AGAIN_SLOWLY_S if slowly else KILL_AGAIN_S)

    def due_at(self, now: float, *, leader_lives: bool) -> float | None:
        """When to look at it again; ``None`` = when something happens."""
        deadlines = []
        if self.kill_at is not None:
            deadlines.append(self.kill_at if self.kill_at > now else self._kill_again_at)
        if not leader_lives:
            deadlines.append(now + KILL_AGAIN_S)
        elif not self.adopts:
            deadlines.append(now + KILL_AGAIN_SLOWLY_S)
        return min(deadlines, default=None)
