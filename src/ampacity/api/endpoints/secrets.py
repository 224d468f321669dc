"""Secrets. No answer, error or log line of theirs holds a value."""

from __future__ import annotations

import logging
from typing import Final

from ampacity.secrets.secret import Secret

from ..answers import Rotated, SecretPage
from ..authorize import Action
from ..bodies import InProject, Nothing, SecretsQuery, SecretValue
from ..endpoint import Answer, Call, Endpoint, answer
from ..pages import page_of, read_place

log = logging.getLogger(__name__)


def secrets(call: Call[SecretsQuery, Nothing]) -> Answer:
    query = call.query
    found, following = page_of(
        call.service.plane.secrets(query.project),
        lambda secret: (secret.name,),
        limit=query.limit,
        after=read_place(query.next, tuple[str]),
    )
    return answer(SecretPage(secrets=found, next=following))


def put_secret(call: Call[InProject, SecretValue]) -> Answer:
    by = call.principal.name
    secret = call.service.plane.put_secret(call.query.project, call.ref, call.body.value, by=by)
    log.info("the secret %s of the project %s was set by %s", secret.name, secret.project, by)
    return answer(secret)


def remove_secret(call: Call[InProject, Nothing]) -> Answer:
    secret = call.service.plane.remove_secret(call.query.project, call.ref)
    log.info("the secret %s of the project %s was removed by %s", secret.name, secret.project, call.principal.name)
    return answer(secret)


def rotate_secret_key(call: Call[Nothing, Nothing]) -> Answer:
    count = call.service.plane.rotate_secret_key()
    log.info("%d secrets were sealed with a new key, at the wish of %s", count, call.principal.name)
    return answer(Rotated(secrets=count))


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="listSecrets",
        summary="The names of a project's secrets. Values are never told.",
        method="GET",
        path="/secrets",
        action=Action.READ_SECRET,
        query=SecretsQuery,
        answer=SecretPage,
        handler=secrets,
    ),
    Endpoint(
        name="putSecret",
        summary="Set a secret, anew or for the first time.",
        method="PUT",
        path="/secrets/{ref}",
        action=Action.CHANGE_SECRET,
        query=InProject,
        body=SecretValue,
        answer=Secret,
        handler=put_secret,
    ),
    Endpoint(
        name="removeSecret",
        summary="Remove a secret. What runs keeps it.",
        method="DELETE",
        path="/secrets/{ref}",
        action=Action.CHANGE_SECRET,
        query=InProject,
        answer=Secret,
        handler=remove_secret,
    ),
    Endpoint(
        name="rotateSecretKey",
        summary="Seal all secrets with a new key.",
        method="POST",
        path="/secret-key",
        action=Action.ROTATE_SECRET_KEY,
        answer=Rotated,
        handler=rotate_secret_key,
    ),
)
