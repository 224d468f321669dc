"""The client's calls about workloads."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, overload

from ampacity.api.answers import Submitted, SubmittedArray, WorkloadPage
from ampacity.api.wire import MAX_WAIT_S
from ampacity.model.array import parse_indices
from ampacity.model.errors import NotRunning
from ampacity.model.ids import DEFAULT_OWNER, Owner
from ampacity.model.view import Why, WorkloadView
from ampacity.model.workload import Wish, WorkloadKind, WorkloadPhase, WorkloadSpec

from .calls import Calls, path_of, read_text
from .follow import Patience
from .link import Query

THERE_S = 0.5
"""A control plane that was lost sooner than this was not there when it was asked."""


class WorkloadCalls(Calls):
    """Workloads: submitted, looked at, waited for, and changed in what is wished of them."""

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

    def _desire(self, ref: str, body: Mapping[str, Any], project: str | None) -> WorkloadView:
        query = {"project": self._in(project)}
        return self._link.call("POST", path_of("workloads", ref, "desired"), WorkloadView, query=query, body=body)
