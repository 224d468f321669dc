"""Workloads: submitted, listed, looked at, and changed in what is wished of them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Final

from ampacity.control.plane import Plane
from ampacity.model.array import parse_indices
from ampacity.model.codec import encode
from ampacity.model.errors import InvalidSpec, Where
from ampacity.model.ids import Project
from ampacity.model.view import Why, WorkloadView
from ampacity.model.workload import Workload, WorkloadKind, WorkloadPhase, WorkloadSpec
from ampacity.model.workload_file import checked_spec, parse_workload

from ..answers import Submitted, WorkloadPage, submitted
from ..authorize import Action
from ..bodies import ENDED_SHOWN, DesiredChange, InProject, Nothing, Submission, WorkloadQuery, WorkloadsQuery
from ..endpoint import Answer, Call, Endpoint, answer
from ..pages import read_place, write_place
from ..receipts import submit_receipt

LIVE_PHASES = tuple(phase for phase in WorkloadPhase if not phase.ended)
ENDED_PHASES = tuple(phase for phase in WorkloadPhase if phase.ended)

_WORKLOAD = "/workloads/{ref}"


def submit(call: Call[Nothing, Submission]) -> Answer:
    """All workloads of the file, in its order, or the elements of an array: all or none."""
    body, asked = call.body, call.asked
    specs, indices = _specs(body), parse_indices(body.array) if body.array else ()
    if indices and (len(specs) > 1 or specs[0].kind is WorkloadKind.SERVICE):
        raise InvalidSpec(
            "An array is made of one task, train or data workload.",
            where=Where(key="array"),
            hint="Submit one at a time.",
        )
    views = call.service.plane.submit(
        specs,
        project=body.project,
        owner=body.owner,
        indices=indices,
        receipt=None if asked is None else lambda views, at: submit_receipt(asked, submitted(views), at),
    )
    return answer(submitted(views), status=201, kept=asked is not None)


def _specs(body: Submission) -> Sequence[WorkloadSpec]:
    if (body.file is None) == (body.spec is None):
        raise InvalidSpec("Give either `file` or `spec`.", where=Where(key="file"))
    if body.spec is not None:
        return (checked_spec(body.spec),)
    assert body.file is not None, "one of the two is there"
    if body.directory is None or not os.path.isabs(body.directory):
        raise InvalidSpec(
            "With `file` the folder that it came from is needed, as an absolute path.",
            where=Where(key="directory"),
            hint="Relative paths in the file are taken from there.",
        )
    return parse_workload(body.file, file=body.name, directory=body.directory)


def workloads(call: Call[WorkloadsQuery, Nothing]) -> Answer:
    """One page, newest first. Without ``all`` and ``phase``: the live ones, and after the last of them the latest
    that ended."""
    query = call.query
    before = read_place(query.next, tuple[float, str])
    brief = not query.all and not query.phase
    found = list(_page(call.service.plane, query, LIVE_PHASES if brief else query.phase, query.limit + 1, before))
    following: str | None = None
    if len(found) > query.limit:
        found = found[: query.limit]
        following = write_place((found[-1].workload.created_at, found[-1].workload.id))
    elif brief:
        found += _page(call.service.plane, query, ENDED_PHASES, ENDED_SHOWN, None)
    return answer(WorkloadPage(workloads=tuple(found), next=following))


def _page(
    plane: Plane,
    query: WorkloadsQuery,
    phases: Sequence[WorkloadPhase],
    limit: int,
    before: tuple[float, str] | None,
) -> tuple[WorkloadView, ...]:
    kinds: tuple[WorkloadKind, ...] | None = query.kind or None
    return plane.workloads(project=query.project, kinds=kinds, phases=phases or None, limit=limit, before=before)


async def workload(call: Call[WorkloadQuery, Nothing]) -> Answer:
    """The workload; with ``wait_s`` once it has ended, or as it is when the time is up or the server stops."""
    service, query = call.service, call.query
    loop = asyncio.get_running_loop()
    until = loop.time() + query.wait_s
    ref = call.ref
    while True:
        with service.bell.end_of(ref) as ending:
            if (left_s := until - loop.time()) > 0 and not service.stopping and service.plane.lives(ref):
                await service.bell.wait_end(ending, left_s)  # there is nothing to be told of it yet
                continue
            found, content = await service.call(_look, service.plane, ref, query.project)
            if found.phase.ended or until - loop.time() <= 0 or service.stopping:
                return Answer(content=content)
            ref = found.id  # it was a name: whoever takes it next is another


def _look(plane: Plane, ref: str, project: Project) -> tuple[Workload, bytes]:
    view = plane.workload(ref, project=project)
    return view.workload, encode(view)


def set_desired(call: Call[InProject, DesiredChange]) -> Answer:
    body = call.body
    if body.wish is None and body.replicas is None and body.size is None:
        text = "Give `wish`, `replicas` or `size`."
        raise InvalidSpec(text, where=Where(key="wish"), hint='Such as {"wish": "stop"}.')
    view = call.service.plane.set_desired(
        call.ref,
        project=call.query.project,
        by=call.principal.name,
        wish=body.wish,
        replicas=body.replicas,
        size=body.size,
    )
    return answer(view)


def why(call: Call[InProject, Nothing]) -> Answer:
    return answer(call.service.plane.why(call.ref, project=call.query.project))


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="listWorkloads",
        summary="Workloads: the live ones and the latest ended; with `all` or `phase` all of them, newest first.",
        method="GET",
        path="/workloads",
        action=Action.READ_WORKLOAD,
        query=WorkloadsQuery,
        answer=WorkloadPage,
        handler=workloads,
    ),
    Endpoint(
        name="submit",
        summary="Submit a workload file, or a spec.",
        method="POST",
        path="/workloads",
        action=Action.SUBMIT_WORKLOAD,
        body=Submission,
        answer=Submitted,
        status=201,
        handler=submit,
        keeps_receipt=True,
    ),
    Endpoint(
        name="getWorkload",
        summary="One workload with all its attempts; with `wait_s` once it has ended.",
        method="GET",
        path=_WORKLOAD,
        action=Action.READ_WORKLOAD,
        query=WorkloadQuery,
        answer=WorkloadView,
        waiter=workload,
    ),
    Endpoint(
        name="setDesired",
        summary="Wish that it stops, or for another number of replicas or nodes.",
        method="POST",
        path=f"{_WORKLOAD}/desired",
        action=Action.CHANGE_WORKLOAD,
        query=InProject,
        body=DesiredChange,
        answer=WorkloadView,
        handler=set_desired,
    ),
    Endpoint(
        name="why",
        summary="Why it waits, runs or ended as it did.",
        method="GET",
        path=f"{_WORKLOAD}/why",
        action=Action.READ_WORKLOAD,
        query=InProject,
        answer=Why,
        handler=why,
    ),
)
