"""The client's calls about what is inside a job."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ampacity.api.frames import UPGRADE, Size

from .calls import Calls, path_of
from .files import JobFiles
from .link import Query
from .terminal import Terminal


class InsideCalls(Calls):
    """What is inside a job: its files, and commands that run beside it."""

    def files(self, ref: str, *, replica: int = 0, member: int = 0, project: str | None = None) -> JobFiles:
        """The files of a member (the node of a gang) of the replica's newest attempt: to list and to copy."""
        where: Query = {"project": self._in(project), "replica": replica, "member": member}
        path_of("workloads", ref)
        return JobFiles(self._link, ref, where, reconnect_s=self._reconnect_s)

    def exec(
        self,
        ref: str,
        command: Sequence[str],
        *,
        tty_size: Size | None = None,
        replica: int = 0,
        member: int = 0,
        project: str | None = None,
    ) -> Terminal:
        """Run a command inside a job that runs: in its environment, working directory and limits. Call
        ``run`` of what it returns.

        Args:
            tty_size: on a terminal of that size; ``None`` = with pipes.

        Raises:
            Conflict: the job does not run.
        """
        query: Query = {
            "project": self._in(project),
            "command": json.dumps(list(command)),
            "replica": replica,
            "member": member,
            "tty": tty_size is not None,
            "columns": None if tty_size is None else tty_size.columns,
            "rows": None if tty_size is None else tty_size.rows,
        }
        return Terminal(self._link.upgrade(path_of("workloads", ref, "exec"), UPGRADE, query=query))
