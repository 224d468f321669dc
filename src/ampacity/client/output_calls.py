"""The client's calls that tell what goes on: progress and output of workloads, and events."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing

from ampacity.api.answers import Points
from ampacity.api.wire import EndReason, StreamLine, error_from_wire
from ampacity.model.errors import NotRunning
from ampacity.model.view import EventView, LogHit, LogRecord, ProgressPoint

from .calls import path_of
from .follow import Patience, follow
from .link import Query
from .workload_calls import WorkloadCalls


class OutputCalls(WorkloadCalls):
    """What workloads say while they run, and what happened. Streams are followed over restarts of the control plane."""

    def progress(self, ref: str, *, project: str | None = None) -> tuple[ProgressPoint, ...]:
        """What a training job reported, in order."""
        query = {"project": self._in(project)}
        return self._link.call("GET", path_of("workloads", ref, "progress"), Points, query=query).points

    def logs(
        self,
        ref: str,
        *,
        follow: bool = False,
        tail: int | None = None,
        rank: int | None = None,
        replica: int | None = None,
        project: str | None = None,
    ) -> Iterator[LogRecord]:
        """The output of all attempts in the order of time, each line once.

        With ``follow`` until the workload has ended, over restarts of the control plane; else up to the present end.
        ``tail``: only the last so many lines of what there is, then what follows. ``rank`` and ``replica`` choose.
        """
        query = {"follow": follow, "rank": rank, "replica": replica, "project": self._in(project)}
        ident = self.workload(ref, project=project).workload.id if follow else ref
        path = path_of("workloads", ident, "logs")
        for line in self._stream(path, query, begin={"tail": tail}, cursor_name="cursor"):
            if line.record is not None:
                yield line.record

    def search_logs(
        self,
        pattern: str,
        *,
        ref: str | None = None,
        fixed: bool = False,
        ignore_case: bool = False,
        context: int = 0,
        since: float | None = None,
        rank: int | None = None,
        replica: int | None = None,
        limit: int | None = None,
        project: str | None = None,
    ) -> Iterator[LogHit]:
        """The lines that match, found where they lie: of one workload, or of all of the project's, newest first.

        ``pattern`` is a regular expression, or with ``fixed`` the text itself; ``context``: so many lines around each;
        ``since``: seconds since the epoch; ``limit``: so many matches.

        Raises:
            InvalidSpec: the pattern is wrong, or takes too long.
        """
        query: Query = {
            "pattern": pattern,
            "workload": ref,
            "fixed": fixed,
            "ignore_case": ignore_case,
            "context": context or None,
            "since": since,
            "rank": rank,
            "replica": replica,
            "limit": limit,
            "project": self._in(project),
        }
        with closing(self._link.lines("/logs", query=query)) as lines:
            for line in lines:
                if line is not None and line.error is not None:
                    raise error_from_wire(line.error, status=500)
                if line is not None and line.end is EndReason.SHUTDOWN:
                    raise NotRunning("The control plane shut down while it searched.", hint="Search again.")
                if line is not None and line.hit is not None:
                    yield line.hit

    def events(
        self,
        *,
        after: int = 0,
        workload: str | None = None,
        limit: int | None = None,
        follow: bool = False,
        project: str | None = None,
    ) -> Iterator[EventView]:
        """The events after a sequence number, in order, each once; ``follow``: without end, or until there were
        ``limit`` of them."""
        query = {"workload": workload, "follow": follow, "project": self._in(project)}
        left = limit
        seq = after
        for line in self._stream("/events", {**query}, begin={"after": after, "limit": left}, cursor_name="after"):
            if line.event is not None and line.event.seq > seq:
                seq = line.event.seq
                yield line.event
                left = None if left is None else left - 1
                if left == 0:
                    return

    def _stream(self, path: str, query: Query, *, begin: Query, cursor_name: str) -> Iterator[StreamLine]:
        """``begin`` is asked for until there is a cursor, then the cursor under its name."""

        def open_at(cursor: str | None) -> Generator[StreamLine | None, None, None]:
            rest: Query = begin if cursor is None else {cursor_name: cursor}
            return self._link.lines(path, query={**query, **rest})

        return follow(open_at, renew=self._link.renew, patience=Patience(self._reconnect_s))
