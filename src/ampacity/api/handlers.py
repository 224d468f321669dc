"""The handlers: each calls one method of the plane and says what it answered. They decide nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import msgspec

from ampacity.control.plane import Plane
from ampacity.model.array import parse_indices
from ampacity.model.codec import encode
from ampacity.model.errors import InvalidSpec, Where
from ampacity.model.ids import Project
from ampacity.model.view import WorkloadView
from ampacity.model.workload import Workload, WorkloadKind, WorkloadPhase, WorkloadSpec
from ampacity.model.workload_file import checked_spec, parse_workload

from .answers import Done, ModelPage, NodePage, Points, WorkloadPage, submitted
from .bodies import (
    ENDED_SHOWN,
    ConditionChange,
    DesiredChange,
    InProject,
    MeasurementsQuery,
    ModelAddition,
    ModelsQuery,
    Nothing,
    PageQuery,
    Shutdown,
    Submission,
    WorkloadQuery,
    WorkloadsQuery,
)
from .endpoint import Answer, Call, answer
from .pages import page_of, read_place, write_place
from .receipts import submit_receipt

LIVE_PHASES = tuple(phase for phase in WorkloadPhase if not phase.ended)
ENDED_PHASES = tuple(phase for phase in WorkloadPhase if phase.ended)


def status(call: Call[Nothing, Nothing]) -> Answer:
    return answer(call.service.plane.status())


def shutdown(call: Call[Nothing, Shutdown]) -> Answer:
    call.service.plane.shutdown(workloads=call.body.workloads)
    return answer(Done(), status=202)


# Workloads ---------------------------------------------------------------------------------------------------------


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


def progress(call: Call[InProject, Nothing]) -> Answer:
    return answer(Points(points=call.service.plane.progress(call.ref, project=call.query.project)))


# Nodes -------------------------------------------------------------------------------------------------------------


def nodes(call: Call[PageQuery, Nothing]) -> Answer:
    after = read_place(call.query.next, tuple[str])
    found, following = page_of(
        call.service.plane.nodes(), lambda view: (str(view.node.id),), limit=call.query.limit, after=after
    )
    return answer(NodePage(nodes=found, next=following))


def measurements(call: Call[MeasurementsQuery, Nothing]) -> Answer:
    query = call.query
    return answer(call.service.plane.measurements(history_points=query.points, step_s=query.step_s))


def set_condition(call: Call[Nothing, ConditionChange]) -> Answer:
    return answer(call.service.plane.set_condition(call.ref, call.body.noun, by=call.principal.name))


# Models ------------------------------------------------------------------------------------------------------------


def models(call: Call[ModelsQuery, Nothing]) -> Answer:
    """By name, the newest version of each first."""
    query = call.query
    after = read_place(query.next, tuple[str, int])
    found, following = page_of(
        call.service.plane.models(query.name),
        lambda model: (model.name, -model.version),
        limit=query.limit,
        after=after,
    )
    return answer(ModelPage(models=found, next=following))


def model(call: Call[Nothing, Nothing]) -> Answer:
    return answer(call.service.plane.model(call.ref))


def add_model(call: Call[Nothing, ModelAddition]) -> Answer:
    body = call.body
    if not os.path.isabs(body.path):
        hint = "Give the absolute path of a folder on the server's machine."
        raise InvalidSpec(f"{body.path!r} is not absolute.", where=Where(key="path"), hint=hint)
    return answer(call.service.plane.add_model(**msgspec.structs.asdict(body)), status=201)


def remove_model(call: Call[Nothing, Nothing]) -> Answer:
    return answer(call.service.plane.remove_model(call.ref))
