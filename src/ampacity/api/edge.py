"""The edge: what every request passes on its way in, and every error on its way out."""

from __future__ import annotations

import logging
import re
import secrets
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ampacity import __version__
from ampacity.model.codec import encode
from ampacity.model.errors import AmpacityError, BadRequest, NotRunning, Unauthorized, UserError, VersionMismatch

from .authorize import Access
from .versions import AGENT, ANY_RELEASE, mismatch, same_major
from .wire import API_PREFIX, MAX_BODY_BYTES, VERSION_HEADER, error_to_wire

log = logging.getLogger(__name__)

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})

PEER = "ampacity.peer"
"""The scope's extension that a Unix socket's connection has: ``{"uid": int | None}``."""


TAKEOVER = "ampacity.takeover"
"""The scope's extension of a request that asks for a terminal's connection: see ``terminal.Takeover``."""


class Edge:
    """Writes the version on every response, and refuses requests that came over TCP under a foreign ``Host``:
    a web page whose name was made to point at the loopback interface (DNS rebinding) sends its own name there."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._hosts = LOOPBACK_HOSTS | access.hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[VERSION_HEADER] = __version__
            await send(message)

        foreign = self._foreign_client(scope)
        if foreign is not None:
            await error_response(mismatch(server=__version__, client=foreign))(scope, receive, send_with_version)
            return
        if PEER not in scope.get("extensions", {}) and not self._host_is_ours(scope):
            refusal = BadRequest(
                "This server is not known under that host name.",
                status=421,
                hint="Ask for localhost, 127.0.0.1 or [::1].",
            )
            await error_response(refusal)(scope, receive, send_with_version)
            return
        await self._app(scope, receive, send_with_version)

    @staticmethod
    def _foreign_client(scope: Scope) -> str | None:
        """The release of a client of ours that does not understand this one; ``None`` for all others."""
        agent = Headers(scope=scope).get("user-agent", "")
        release = agent.removeprefix(AGENT).partition(" ")[0]
        ours = agent.startswith(AGENT) and scope["path"].removeprefix(API_PREFIX) not in ANY_RELEASE
        return release if ours and not same_major(release, __version__) else None

    def _host_is_ours(self, scope: Scope) -> bool:
        given = Headers(scope=scope).getlist("host")
        if len(given) != 1:
            return False
        name, colon, port = given[0].strip().lower().rpartition(":")
        if not colon or not (port.isdigit() or not port):
            name = given[0].strip().lower()
        return name in self._hosts


def peer_uid(scope: Scope) -> int | None:
    """The uid at the other end of a Unix socket; ``None`` on TCP."""
    peer: dict[str, int | None] = scope.get("extensions", {}).get(PEER, {})
    return peer.get("uid")


async def read_limited(request: Request) -> bytes:
    """The body. Raises ``BadRequest`` (413) when it is larger than ``MAX_BODY_BYTES``."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > MAX_BODY_BYTES:
        raise _too_large()
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
    return bytes(body)


def _too_large() -> BadRequest:
    return BadRequest(f"The body is larger than {MAX_BODY_BYTES >> 20} MiB.", status=413)


def error_response(known: AmpacityError) -> Response:
    """The JSON answer to an error."""
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(known, Unauthorized) else {}
    if known.status == 413:
        headers["Connection"] = "close"
    return json_response(encode({"error": error_to_wire(known)}), status=known.status, headers=headers)


def as_known(error: Exception, *, stopping: bool = False) -> AmpacityError:
    """The error itself when it is of our tree; else one that names the line in the log and nothing more.

    While the server stops, what the plane cannot do any more is ``NotRunning``: clients ask again later.
    """
    if stopping and not isinstance(error, UserError):
        log.info("refused while stopping: %r", error)
        return NotRunning("The control plane is shutting down.", hint="Ask again when it is back.")
    if isinstance(error, AmpacityError):
        if error.status >= 500:
            log.warning("request failed: %s", error)
        return error
    ident = secrets.token_hex(6)
    log.error("request failed, id %s", ident, exc_info=error)
    return AmpacityError(
        f"Something went wrong inside the control plane (id {ident}).", hint="Its log says more under that id."
    )


def json_response(content: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(content, status_code=status, headers=headers, media_type="application/json")


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own refusals (no such path), said in our words."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail: Any = error.detail if isinstance(error, HTTPException) else ""
    asked = re.match(r"/api/v\d+", request.url.path)
    if status == 404 and asked is not None and asked[0] != API_PREFIX:
        hint = f"Ask under {API_PREFIX}, or use a client of Ampacity {__version__}."
        return error_response(
            VersionMismatch(f"This control plane (Ampacity {__version__}) does not speak {asked[0]}.", hint=hint)
        )
    if status == 404:
        return error_response(
            BadRequest(f"There is nothing at {request.url.path}.", status=404, hint="The API lies under /api/v1.")
        )
    return error_response(BadRequest(f"{detail}.", status=status))
