"""Searching the logs of one workload, or of all of a project's, where they lie."""

from __future__ import annotations

from collections.abc import Iterator

from ampacity.model.view import LogHit, LogRecord, WorkloadView
from ampacity.observe.search import Context, Matcher, open_matcher

from .logs import Output
from .plane import LogSearch
from .reading import Reading

PAGE_LINES = 5000
MOST_WORKLOADS = 1000


class Searching:
    """Reads lines through the drivers and gives out those that match. Safe to use from several threads."""

    def __init__(self, reading: Reading, output: Output) -> None:
        self._reading, self._output = reading, output

    def hits(self, ask: LogSearch, now: float) -> Iterator[tuple[LogHit, ...]]:
        """Up to what was printed by ``now``; workloads newest first, lines in the order of time.

        Raises:
            InvalidSpec: the pattern is wrong.
            NotFound: there is no such workload.
        """
        matcher = open_matcher(ask.pattern, fixed=ask.fixed, ignore_case=ask.ignore_case)
        views = self._views(ask) if ask.ref is None else (self._reading.workload(ask.ref, project=ask.project),)
        return self._search(ask, now, views, matcher)

    def _views(self, ask: LogSearch) -> tuple[WorkloadView, ...]:
        found = self._reading.workloads(project=ask.project, kinds=None, phases=None, limit=MOST_WORKLOADS, before=None)
        since = ask.since
        return tuple(
            self._reading.workload(view.workload.id, project=ask.project)
            for view in found
            if since is None or view.workload.ended_at is None or view.workload.ended_at >= since
        )

    def _search(
        self, ask: LogSearch, now: float, views: tuple[WorkloadView, ...], matcher: Matcher
    ) -> Iterator[tuple[LogHit, ...]]:
        context: Context[LogRecord] = Context(ask.context)
        left = ask.limit
        try:
            for view in views:
                context.begin(context.group)
                for records in self._pages(ask, now, view):
                    matched = matcher.matches([record.text for record in records])
                    if left is not None:
                        matched, left = _cut(matched, left)
                    yield tuple(
                        LogHit(
                            workload=view.workload.id,
                            name=view.workload.name,
                            record=hit.line,
                            matched=hit.matched,
                            group=hit.group,
                        )
                        for hit in context.feed(records, matched)
                    )
                    if left == 0:
                        return
        finally:
            matcher.close()

    def _pages(self, ask: LogSearch, now: float, view: WorkloadView) -> Iterator[tuple[LogRecord, ...]]:
        cursor: str | None = None
        while True:
            part = self._output.slice(view, cursor=cursor, rank=ask.rank, replica=ask.replica, limit=PAGE_LINES)
            since = ask.since
            yield part.records if since is None else tuple(each for each in part.records if each.at >= since)
            printed_later = bool(part.records) and part.records[-1].at > now
            if part.ended or part.cursor == cursor or printed_later:
                return
            cursor = part.cursor


def _cut(matched: list[bool], left: int) -> tuple[list[bool], int]:
    """At most so many; how many are left then."""
    for place, found in enumerate(matched):
        if found:
            if left == 0:
                return [*matched[:place], *([False] * (len(matched) - place))], 0
            left -= 1
    return matched, left
