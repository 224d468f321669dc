"""``Client``: the control plane's use cases as methods, with the same nouns that the control plane works with."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, overload

from ampacity.api.answers import (
    Done,
    Points,
    Submitted,
    SubmittedArray,
    WorkloadPage,
)
from ampacity.api.frames import UPGRADE, Size
from ampacity.api.wire import MAX_WAIT_S, EndReason, StreamLine, error_from_wire
from ampacity.model.array import parse_indices
from ampacity.model.errors import NotRunning
from ampacity.model.ids import DEFAULT_OWNER, DEFAULT_PROJECT, Owner, Project
from ampacity.model.view import EventView, LogHit, LogRecord, ProgressPoint, Status, Why, WorkloadView
from ampacity.model.workload import Wish, WorkloadKind, WorkloadPhase, WorkloadSpec

from .calls import path_of, read_text
from .files import JobFiles
from .follow import Patience, follow
from .key_calls import KeyCalls
from .link import Link, Query
from .locate import Endpoint, from_environment, locate
from .model_calls import ModelCalls
from .node_calls import NodeCalls
from .queue_calls import QueueCalls
from .route_calls import RouteCalls
from .secret_calls import SecretCalls
from .terminal import Terminal
from .topology_calls import TopologyCalls

THERE_S = 0.5
"""A control plane that was lost sooner than this was not there when it was asked."""


class Client(NodeCalls, TopologyCalls, QueueCalls, RouteCalls, ModelCalls, SecretCalls, KeyCalls):
    """Talks to one control plane. Safe to use from several threads; a context manager.

    Without arguments it is the one that ``AMPACITY_URL`` (with ``AMPACITY_TOKEN``) names, else the one whose state
    folder is ``$AMPACITY_HOME`` or ``~/.ampacity``. Nothing is opened before the first call.

    Args:
        state_dir: the state folder of a control plane on this machine.
        url: its address, such as ``http://127.0.0.1:7077``; with the ``token``.
        token: the bearer token.
        project: the project that names belong to.
        timeout_s: how long a call may take.
        on_other_release: told the control plane's version when its minor release is another than this one's.
        reconnect_s: how long ``wait``, ``logs`` and ``events`` go on asking when the control plane is gone.

    Every method raises ``NotRunning`` when nobody answers, ``Unauthorized`` and ``Forbidden`` when it may not ask, and
    ``NotFound`` for a name that is not there; all but ``status`` and ``shutdown`` raise ``VersionMismatch`` when the
    control plane is of another major release. ``ref`` is a workload's id or its name: the live one, else the newest.
    """

    def __init__(
        self,
        state_dir: str | os.PathLike[str] | None = None,
        *,
        url: str | None = None,
        token: str | None = None,
        project: str = DEFAULT_PROJECT,
        timeout_s: float = 60.0,
        reconnect_s: float = 15.0,
        on_other_release: Callable[[str], None] = lambda version: None,
    ) -> None:
        self.project = Project(project)
        self._reconnect_s = reconnect_s

        def find() -> Endpoint:
            if url is not None:
                return Endpoint(url=url.rstrip("/"), token=token or "")
            return from_environment() if state_dir is None else locate(state_dir)

        self._link = Link(find, timeout_s=timeout_s, on_other_release=on_other_release)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._link.close()

    @property
    def server_version(self) -> str:
        """The release that the control plane runs; empty before the first answer."""
        return self._link.server_version

    # The control plane ---------------------------------------------------------------------------------------------

    def status(self) -> Status:
        """How the control plane is and where it listens."""
        return self._link.call("GET", "/status", Status)

    def shutdown(self, *, workloads: bool = False) -> None:
        """Ask it to end. What runs, runs on, unless ``workloads`` says to stop it first. Returns before it is gone."""
        self._link.call("POST", "/shutdown", Done, body={"workloads": workloads})

    # Workloads -----------------------------------------------------------------------------------------------------

    @overload
    def submit(self, what: WorkloadSpec, *, owner: str = ..., project: str | None = ...) -> WorkloadView: ...

    @overload
    def submit(
        self,
        what: os.PathLike[str] | str,
        *,
        owner: str = ...,
        project: str | None = ...,
        name: str = ...,
        directory: str | os.PathLike[str] | None = ...,
    ) -> tuple[WorkloadView, ...]: ...

    def submit(
        self,
        what: WorkloadSpec | os.PathLike[str] | str,
        *,
        owner: str = DEFAULT_OWNER,
        project: str | None = None,
        name: str = "workload.yaml",
        directory: str | os.PathLike[str] | None = None,
    ) -> WorkloadView | tuple[WorkloadView, ...]:
        """Submit a spec, a workload file (``pathlib.Path``) or the text of one (``str``).

        A spec gives its view; a file gives those of all its workloads. ``name`` is what messages call a text;
        ``directory`` is what its relative paths start from (default: the current folder).

        Raises:
            InvalidSpec: the file or spec is wrong; says file, line and key.
            NameTaken: a live workload of the project has the name.
            ImpossibleRequest: no node could ever hold it; says what would fit.
        """
        head: dict[str, Any] = {"project": self._in(project), "owner": Owner(owner)}
        if isinstance(what, WorkloadSpec):
            return self._link.call("POST", "/workloads", Submitted, body={**head, "spec": what}).workloads[0]
        if not isinstance(what, str):
            path = Path(what).absolute()
            text, name, directory = read_text(path), os.fspath(what), directory or path.parent
        else:
            text = what
        body = {**head, "file": text, "name": name, "directory": os.path.abspath(directory or ".")}
        return self._link.call("POST", "/workloads", Submitted, body=body).workloads

    def submit_array(
        self, spec: WorkloadSpec, indices: str, *, owner: str = DEFAULT_OWNER, project: str | None = None
    ) -> SubmittedArray:
        """Submit one workload for each index (``0-999``, ``1,3,10-20``), all or none; durable when it returns.

        Each finds its own index in ``AMPACITY_ARRAY_INDEX`` and is called by the spec's name, a dash and the index.

        Raises:
            InvalidSpec: the spec or the indices are wrong.
            NameTaken: a live workload of the project has the name of an element.
            ImpossibleRequest: no node could ever hold an element.
        """
        parse_indices(indices)
        body = {"project": self._in(project), "owner": Owner(owner), "spec": spec, "array": indices}
        made = self._link.call("POST", "/workloads", Submitted, body=body).array
        assert made is not None, "indices make an array"
        return made

    def workloads(
        self,
        *,
        all: bool = False,
        project: str | None = None,
        kinds: Collection[WorkloadKind | str] = (),
        phases: Collection[WorkloadPhase | str] = (),
        page: int = 100,
    ) -> Iterator[WorkloadView]:
        """The live ones, newest first, then the latest that ended; with ``all`` or ``phases`` all of them, newest
        first. ``project`` ``None`` = every project but ``system``. Read page by page, as far as you iterate."""
        following: str | None = None
        while True:
            query: Query = {
                "all": all,
                "project": project,
                "kind": ",".join(kinds) or None,
                "phase": ",".join(phases) or None,
                "limit": page,
                "next": following,
            }
            found = self._link.call("GET", "/workloads", WorkloadPage, query=query)
            yield from found.workloads
            following = found.next
            if following is None:
                return

    def workload(self, ref: str, *, project: str | None = None) -> WorkloadView:
        """One workload with all its attempts."""
        return self._link.call("GET", path_of("workloads", ref), WorkloadView, query={"project": self._in(project)})

    def stop(self, ref: str, *, project: str | None = None) -> WorkloadView:
        """Wish that it stops. Returns at once; :meth:`wait` for its end.

        Raises:
            Conflict: it has ended.
        """
        return self._desire(ref, {"wish": Wish.STOP}, project)

    def scale(self, ref: str, replicas: int, *, project: str | None = None) -> WorkloadView:
        """Wish for that many replicas of a service.

        Raises:
            Conflict: it has ended, or is no service.
        """
        return self._desire(ref, {"replicas": replicas}, project)

    def resize(self, ref: str, nodes: int, *, project: str | None = None) -> WorkloadView:
        """Wish for that many nodes of an elastic train; 0 = again as its file says. It goes on from the state that it
        is asked to save: on fewer nodes at once, on more of them when there is room that nobody waits for.

        Raises:
            Conflict: it has ended, or its ``num_nodes`` do not hold that many.
        """
        return self._desire(ref, {"size": nodes}, project)

    def why(self, ref: str, *, project: str | None = None) -> Why:
        """Why it waits, runs or ended as it did, and what would change it."""
        return self._link.call("GET", path_of("workloads", ref, "why"), Why, query={"project": self._in(project)})

    def progress(self, ref: str, *, project: str | None = None) -> tuple[ProgressPoint, ...]:
        """What a training job reported, in order."""
        query = {"project": self._in(project)}
        return self._link.call("GET", path_of("workloads", ref, "progress"), Points, query=query).points

    def wait(self, ref: str, timeout_s: float | None = None, *, project: str | None = None) -> WorkloadView:
        """The workload once it has ended. A restart of the control plane meanwhile does no harm.

        Raises:
            TimeoutError: it has not ended after ``timeout_s``.
            NotRunning: the control plane is gone and did not come back in ``reconnect_s``.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        patience = Patience(self._reconnect_s)
        ident: str | None = None
        while True:
            left_s = MAX_WAIT_S if until is None else max(0.0, until - time.monotonic())
            asked_s = min(left_s, MAX_WAIT_S)
            query: Query = {"project": self._in(project), "wait_s": asked_s or None}
            began = time.monotonic()
            try:
                view = self._link.call(
                    "GET", path_of("workloads", ident or ref), WorkloadView, query=query, wait_s=asked_s
                )
            except NotRunning as error:
                if ident is None and time.monotonic() - began < THERE_S:
                    raise
                self._link.renew()
                patience.pause(error)
            else:
                if view.workload.phase.ended:
                    return view
                # One that answers before the time is about to shut down: do not press it.
                early = time.monotonic() - began < asked_s / 2
                ident = view.workload.id
                if early:
                    time.sleep(0.1)
                else:
                    patience.renew()
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"{ref} has not ended after {timeout_s:g} s.")

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

    # ---------------------------------------------------------------------------------------------------------------

    def _desire(self, ref: str, body: Mapping[str, Any], project: str | None) -> WorkloadView:
        query = {"project": self._in(project)}
        return self._link.call("POST", path_of("workloads", ref, "desired"), WorkloadView, query=query, body=body)

    def _stream(self, path: str, query: Query, *, begin: Query, cursor_name: str) -> Iterator[StreamLine]:
        """``begin`` is asked for until there is a cursor, then the cursor under its name."""

        def open_at(cursor: str | None) -> Generator[StreamLine | None, None, None]:
            rest: Query = begin if cursor is None else {cursor_name: cursor}
            return self._link.lines(path, query={**query, **rest})

        return follow(open_at, renew=self._link.renew, patience=Patience(self._reconnect_s))
