"""The models of the hub, and their versions."""

from __future__ import annotations

import os
from typing import Final

import msgspec

from ampacity.hub.version import ModelVersion
from ampacity.model.errors import InvalidSpec, Where

from ..answers import ModelPage
from ..authorize import Action
from ..bodies import ModelAddition, ModelsQuery, Nothing
from ..endpoint import Answer, Call, Endpoint, answer
from ..pages import page_of, read_place


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


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="listModels",
        summary="The models of the hub; with `name` all versions of that one.",
        method="GET",
        path="/models",
        action=Action.READ_MODEL,
        query=ModelsQuery,
        answer=ModelPage,
        handler=models,
    ),
    Endpoint(
        name="addModel",
        summary="Register files on the server as the next version of a model.",
        method="POST",
        path="/models",
        action=Action.ADD_MODEL,
        body=ModelAddition,
        answer=ModelVersion,
        status=201,
        handler=add_model,
    ),
    Endpoint(
        name="getModel",
        summary="One version of a model.",
        method="GET",
        path="/models/{ref:path}",
        action=Action.READ_MODEL,
        answer=ModelVersion,
        handler=model,
    ),
    Endpoint(
        name="removeModel",
        summary="Remove one version of a model.",
        method="DELETE",
        path="/models/{ref:path}",
        action=Action.REMOVE_MODEL,
        answer=ModelVersion,
        handler=remove_model,
    ),
)
