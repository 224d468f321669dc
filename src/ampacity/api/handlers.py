"""The handlers: each calls one method of the plane and says what it answered. They decide nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import msgspec

from ampacity.control.plane import Plane
from ampacity.model.codec import encode
from ampacity.model.errors import AmpacityError, InvalidSpec, Where
from ampacity.model.view import WorkloadView
from ampacity.model.workload import WorkloadKind, WorkloadPhase, WorkloadSpec
from ampacity.model.workload_file import checked_spec, parse_workload

from .bodies import (
    ENDED_SHOWN,
    ConditionChange,
    DesiredChange,
    InProject,
    ModelAddition,
    ModelsQuery,
    Nothing,
    Shutdown,
    Submission,
    WorkloadQuery,
    WorkloadsQuery,
)
from .endpoint import Answer, Call, answer

LIVE_PHASES = tuple(phase for phase in WorkloadPhase if not phase.ended)
ENDED_PHASES = tuple(phase for phase in WorkloadPhase if phase.ended)


def status(call: Call[Nothing, Nothing]) -> Answer:
    return answer(call.service.plane.status())


def shutdown(call: Call[Nothing, Shutdown]) -> Answer:
    call.service.plane.shutdown(workloads=call.body.workloads)
    return answer({}, status=202)


# Workloads ---------------------------------------------------------------------------------------------------------


def submit(call: Call[Nothing, Submission]) -> Answer:
    """All workloads of the file, in its order. Each is submitted by itself: what was accepted before one that was
    refused stays, and the refusal says so."""
    body = call.body
    accepted: list[WorkloadView] = []
    for spec in _specs(body):
        try:
            accepted.append(call.service.plane.submit(spec, project=body.project, owner=body.owner))
        except AmpacityError as error:
            if accepted:
                names = ", ".join(repr(view.workload.name) for view in accepted)
                error.hint = f"{error.hint} Accepted before it, from the same file: {names}.".strip()
            raise
    return answer({"workloads": accepted}, status=201)


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
    before = _read_place(query.before)
    brief = not query.all and not query.phase
    found = list(_page(call.service.plane, query, LIVE_PHASES if brief else query.phase, query.limit + 1, before))
    following: str | None = None
    if len(found) > query.limit:
        found = found[: query.limit]
        following = _write_place(found[-1])
    elif brief:
        found += _page(call.service.plane, query, ENDED_PHASES, ENDED_SHOWN, None)
    return answer({"workloads": found, "next": following})


def _page(
    plane: Plane,
    query: WorkloadsQuery,
    phases: Sequence[WorkloadPhase],
    limit: int,
    before: tuple[float, str] | None,
) -> tuple[WorkloadView, ...]:
    kinds: tuple[WorkloadKind, ...] | None = query.kind or None
    return plane.workloads(project=query.project, kinds=kinds, phases=phases or None, limit=limit, before=before)


def _write_place(view: WorkloadView) -> str:
    return f"{view.workload.created_at!r},{view.workload.id}"


def _read_place(text: str | None) -> tuple[float, str] | None:
    if text is None:
        return None
    at, comma, ident = text.partition(",")
    try:
        if not comma or not ident:
            raise ValueError
        return float(at), ident
    except ValueError:
        hint = "Give back the `next` of the page before as it was."
        raise InvalidSpec(f"{text!r} is no place in the list.", where=Where(key="before"), hint=hint) from None


async def workload(call: Call[WorkloadQuery, Nothing]) -> Answer:
    """The workload; with ``wait_s`` once it has ended, or as it is when the time is up or the server stops."""
    service, query = call.service, call.query
    loop = asyncio.get_running_loop()
    until = loop.time() + query.wait_s
    ref = call.ref
    while True:
        with service.bell.end_of(ref) as ending:
            view = await service.call(service.plane.workload, ref, project=query.project)
            known = ref == view.workload.id  # else a name: whoever takes it next is another
            ref = view.workload.id
            left_s = until - loop.time()
            if view.workload.phase.ended or left_s <= 0 or service.stopping:
                return Answer(content=await service.call(encode, view))
            if known:
                await service.bell.wait_end(ending, left_s)


def set_desired(call: Call[InProject, DesiredChange]) -> Answer:
    body = call.body
    if body.wish is None and body.replicas is None:
        raise InvalidSpec("Give `wish` or `replicas`.", where=Where(key="wish"), hint='Such as {"wish": "stop"}.')
    view = call.service.plane.set_desired(
        call.ref, project=call.query.project, by=call.principal.name, wish=body.wish, replicas=body.replicas
    )
    return answer(view)


def why(call: Call[InProject, Nothing]) -> Answer:
    return answer(call.service.plane.why(call.ref, project=call.query.project))


def progress(call: Call[InProject, Nothing]) -> Answer:
    return answer({"points": call.service.plane.progress(call.ref, project=call.query.project)})


# Nodes -------------------------------------------------------------------------------------------------------------


def nodes(call: Call[Nothing, Nothing]) -> Answer:
    return answer({"nodes": call.service.plane.nodes()})


def set_condition(call: Call[Nothing, ConditionChange]) -> Answer:
    return answer(call.service.plane.set_condition(call.ref, call.body.noun, by=call.principal.name))


# Models ------------------------------------------------------------------------------------------------------------


def models(call: Call[ModelsQuery, Nothing]) -> Answer:
    return answer({"models": call.service.plane.models(call.query.name)})


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
