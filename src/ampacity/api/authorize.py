"""Who is asking, and whether they may: the two questions that every call is asked before anything else."""

from __future__ import annotations

import hashlib
import hmac
import pwd
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import assert_never

from ampacity.model.errors import Forbidden, Unauthorized
from ampacity.model.ids import Project

ROOT_UID = 0


class Action(StrEnum):
    """All that can be done through the API."""

    READ_STATUS = "status.read"
    READ_WORKLOAD = "workload.read"
    SUBMIT_WORKLOAD = "workload.submit"
    CHANGE_WORKLOAD = "workload.change"
    READ_LOGS = "logs.read"
    READ_FILES = "files.read"
    WRITE_FILES = "files.write"
    EXEC = "workload.exec"
    READ_EVENTS = "events.read"
    READ_NODE = "node.read"
    READ_METRICS = "metrics.read"
    CHANGE_NODE = "node.change"
    READ_QUEUE = "queue.read"
    CHANGE_QUEUES = "queues.change"
    READ_ROUTES = "routes.read"
    CHANGE_ROUTES = "routes.change"
    READ_MODEL = "model.read"
    ADD_MODEL = "model.add"
    REMOVE_MODEL = "model.remove"
    READ_SECRET = "secret.read"
    CHANGE_SECRET = "secret.change"
    ROTATE_SECRET_KEY = "secret_key.rotate"
    READ_KEY = "key.read"
    CHANGE_KEY = "key.change"
    READ_USAGE = "usage.read"
    SHUT_DOWN = "control.shutdown"


class Role(StrEnum):
    """An operator may do everything, a scraper only read metrics. A stranger is known (a local user), and may do
    nothing."""

    OPERATOR = "operator"
    SCRAPER = "scraper"
    STRANGER = "stranger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is asking. ``name`` stands in events as the actor."""

    name: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the action is about. Empty ``ref``: all of the project; ``project`` ``None``: of every project."""

    project: Project | None = None
    ref: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Whom the server lets in: its own user ``uid`` and root on the Unix socket, and who shows the token.

    ``token_sha256`` is the hex SHA-256 of the token; empty = no token is accepted; ``metrics_token_sha256`` that of one
    with which metrics alone can be read. ``hosts`` are names that a ``Host``
    header may carry on TCP, without the port, beside those of the loopback interface.
    """

    uid: int
    token_sha256: str = ""
    metrics_token_sha256: str = ""
    hosts: frozenset[str] = frozenset()


def token_digest(token: str) -> str:
    """The SHA-256 of a token, in hex: what a server keeps of it."""
    return hashlib.sha256(token.encode()).hexdigest()


def authenticate(access: Access, *, peer_uid: int | None, authorization: str | None) -> Principal:
    """Who is asking. ``peer_uid`` is that of a Unix socket's other end, ``None`` on TCP.

    Raises:
        Unauthorized: the credentials are wrong, or there are none.
    """
    if authorization is not None:
        return _bearer(access, authorization)
    if peer_uid is None:
        raise Unauthorized(
            "This address asks for a token.", hint="Send `Authorization: Bearer <token>`, or use the Unix socket."
        )
    role = Role.OPERATOR if peer_uid in (ROOT_UID, access.uid) else Role.STRANGER
    return Principal(name=_user_name(peer_uid), role=role)


def authorize(principal: Principal, action: Action, target: Target) -> None:
    """Pass, or raise ``Forbidden``."""
    match principal.role:
        case Role.OPERATOR:
            return
        case Role.SCRAPER:
            if action is not Action.READ_METRICS:
                raise Forbidden("This token reads metrics and nothing else.", hint="GET /metrics is what it is for.")
        case Role.STRANGER:
            place = f" {target.ref!r}" if target.ref else ""
            raise Forbidden(
                f"{principal.name} may not do {action}{place} here.",
                hint="Ask as the user who runs the control plane, or with its token.",
            )
        case _:
            assert_never(principal.role)


def _bearer(access: Access, authorization: str) -> Principal:
    scheme, _, token = authorization.partition(" ")
    given = token_digest(token.strip())
    right = hmac.compare_digest(given.encode(), access.token_sha256.lower().encode())
    reads = hmac.compare_digest(given.encode(), access.metrics_token_sha256.lower().encode())
    if scheme.lower() == "bearer" and reads:
        return Principal(name="metrics-token", role=Role.SCRAPER)
    if scheme.lower() != "bearer" or not right:
        raise Unauthorized("The token is not right.", hint="The state folder's file `token` has it.")
    return Principal(name="token", role=Role.OPERATOR)


@lru_cache
def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"uid {uid}"
