"""API keys, limits and usage. Nothing here ever sees a key itself."""

from __future__ import annotations

import time
from typing import Final

from ampacity.model.access import ApiKey, ProjectLimits
from ampacity.model.ids import KeyId

from ..answers import KeyPage, KeyView, UsageReport, key_view
from ..authorize import Action
from ..bodies import InProject, KeyCreation, KeysQuery, LimitsChange, Nothing, ProjectLimitsChange, UsageQuery
from ..endpoint import Answer, Call, Endpoint, answer
from ..pages import page_of, read_place


def keys(call: Call[KeysQuery, Nothing]) -> Answer:
    query = call.query
    now = time.time()
    found, following = page_of(
        [key for key in call.service.plane.keys.of_project(query.project) if query.all or key.usable(now)],
        lambda key: (key.name, key.id),
        limit=query.limit,
        after=read_place(query.next, tuple[str, str]),
    )
    return answer(KeyPage(keys=tuple(key_view(key) for key in found), next=following))


def create_key(call: Call[InProject, KeyCreation]) -> Answer:
    body = call.body
    wanted = ApiKey(
        id=KeyId(""),  # it follows from the digest
        name=body.name,
        digest=body.digest,
        shown=body.shown,
        project=call.query.project,
        owner=body.owner,
        models=tuple(dict.fromkeys(body.models)),
        limits=body.limits,
        priority=body.priority,
        expires_at=body.expires_at,
    )
    return answer(key_view(call.service.plane.keys.create(wanted, by=call.principal.name)), status=201)


def limit_key(call: Call[InProject, LimitsChange]) -> Answer:
    project, by = call.query.project, call.principal.name
    return answer(key_view(call.service.plane.keys.limit(call.ref, call.body.limits, project=project, by=by)))


def revoke_key(call: Call[InProject, Nothing]) -> Answer:
    project, by = call.query.project, call.principal.name
    return answer(key_view(call.service.plane.keys.revoke(call.ref, project=project, by=by)))


def project_limits(call: Call[InProject, Nothing]) -> Answer:
    return answer(call.service.plane.keys.project_limits(call.query.project))


def limit_project(call: Call[InProject, ProjectLimitsChange]) -> Answer:
    body, by = call.body, call.principal.name
    return answer(call.service.plane.keys.limit_project(call.query.project, body.limits, weight=body.weight, by=by))


def usage(call: Call[UsageQuery, Nothing]) -> Answer:
    query, metering = call.query, call.service.plane.metering
    until = float("inf") if query.until is None else query.until
    sums = metering.usage(by=query.by, since=query.since, until=until, project=query.project)
    shown = {each.key for each in sums}
    names = {str(key.id): key.name for key in call.service.plane.keys.all() if key.id in shown}
    return answer(UsageReport(sums=sums, names=names, lost=metering.lost))


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="listKeys",
        summary="The API keys of a project; with `all` revoked and expired ones, too.",
        method="GET",
        path="/keys",
        action=Action.READ_KEY,
        query=KeysQuery,
        answer=KeyPage,
        handler=keys,
    ),
    Endpoint(
        name="createKey",
        summary="Keep a new API key by its digest; the key itself stays with the caller.",
        method="POST",
        path="/keys",
        action=Action.CHANGE_KEY,
        query=InProject,
        body=KeyCreation,
        answer=KeyView,
        status=201,
        handler=create_key,
    ),
    Endpoint(
        name="limitKey",
        summary="Give an API key other limits.",
        method="POST",
        path="/keys/{ref}/limits",
        action=Action.CHANGE_KEY,
        query=InProject,
        body=LimitsChange,
        answer=KeyView,
        handler=limit_key,
    ),
    Endpoint(
        name="revokeKey",
        summary="Make an API key useless for ever.",
        method="DELETE",
        path="/keys/{ref}",
        action=Action.CHANGE_KEY,
        query=InProject,
        answer=KeyView,
        handler=revoke_key,
    ),
    Endpoint(
        name="getLimits",
        summary="What all keys of a project may use together, and its share where there is not enough.",
        method="GET",
        path="/limits",
        action=Action.READ_KEY,
        query=InProject,
        answer=ProjectLimits,
        handler=project_limits,
    ),
    Endpoint(
        name="setLimits",
        summary="Set what all keys of a project may use together.",
        method="POST",
        path="/limits",
        action=Action.CHANGE_KEY,
        query=InProject,
        body=ProjectLimitsChange,
        answer=ProjectLimits,
        handler=limit_project,
    ),
    Endpoint(
        name="usage",
        summary="What requests to models have used, by project, key, model, replica, day or hour.",
        method="GET",
        path="/usage",
        action=Action.READ_USAGE,
        query=UsageQuery,
        answer=UsageReport,
        handler=usage,
    ),
)
