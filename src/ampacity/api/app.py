"""The ASGI app: for each request who, may they, what; then the handler."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from itertools import groupby
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ampacity.control.plane import Plane
from ampacity.model.errors import BadRequest
from ampacity.model.ids import Project
from ampacity.observe.exposition import OPENMETRICS, TEXT

from .authorize import Access, Action, Principal, Target, authenticate, authorize
from .bodies import RawBytes
from .decode import read_body, read_query
from .edge import TAKEOVER, Edge, as_known, error_response, json_response, on_http_exception, peer_uid, read_limited
from .endpoint import Answer, Call, Endpoint, Stream
from .repeats import Repeats, asked_of
from .service import Service
from .table import ENDPOINTS
from .wire import API_PREFIX, NDJSON, OCTETS, REPLAYED_HEADER, StreamLine, encode_lines, error_body

AT_ONCE_BYTES = 16 << 10


def create_app(plane: Plane, access: Access) -> Starlette:
    """The API over a plane. ``app.state.service`` is its :class:`Service`: stop and close it with the server."""
    service = Service(plane, access)
    repeats = Repeats(service)
    by_path = groupby(sorted(ENDPOINTS, key=_turn), key=lambda endpoint: endpoint.path)
    routes = [
        Route(API_PREFIX + path, Resource(service, repeats, {each.method: each for each in endpoints}))
        for path, endpoints in by_path
    ]
    app = Starlette(
        routes=[*routes, Route("/metrics", Metrics(service))],
        middleware=[Middleware(Edge, access=access)],
        exception_handlers={HTTPException: on_http_exception},
    )
    app.router.redirect_slashes = False
    app.state.service = service
    return app


def _turn(endpoint: Endpoint) -> tuple[bool, str]:
    """Starlette looks at one path after the other: those of workloads, which are asked for most, come first."""
    return not endpoint.path.startswith("/workloads"), endpoint.path


class Resource:
    """All methods of one path, as an ASGI app."""

    def __init__(self, service: Service, repeats: Repeats, endpoints: Mapping[str, Endpoint]) -> None:
        self._service = service
        self._repeats = repeats
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._answer(Request(scope, receive))
            if response is None:
                return
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001 - the edge: whatever it is becomes an answer, and is logged
            response = error_response(as_known(error, stopping=self._service.stopping))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response | None:
        """``None``: the connection was taken over, and all is said."""
        principal = self._authenticate(request)
        endpoint = self._endpoints.get(request.method)
        if endpoint is None:
            return self._wrong_method(request)
        call = await self._read(request, endpoint, principal)
        if call.asked is not None:
            handler = endpoint.handler
            assert handler is not None, "what is asked once is answered by a handler"
            found = await self._repeats.once(call.asked, lambda: handler(call), looked_up=not endpoint.keeps_receipt)
            headers = {REPLAYED_HEADER: "true"} if found.replayed else None
            return json_response(found.content, status=found.status, headers=headers)
        if endpoint.stream is not None:
            return await _stream_response(self._service, endpoint.stream(call))
        if endpoint.upgrade is not None:
            await endpoint.upgrade(call, request.scope.get("extensions", {}).get(TAKEOVER))
            return None
        if endpoint.content is not None:
            sent = await endpoint.content(call)
            return StreamingResponse(sent.pieces, headers=dict(sent.headers), media_type=OCTETS)
        found = await self._carry_out(endpoint, call)
        return json_response(found.content, status=found.status)

    async def _carry_out(self, endpoint: Endpoint, call: Call[Any, Any]) -> Answer:
        if endpoint.waiter is not None:
            return await endpoint.waiter(call)
        assert endpoint.handler is not None, "an endpoint has one of them"
        return await self._service.call(endpoint.handler, call)

    def _authenticate(self, request: Request) -> Principal:
        return authenticate(
            self._service.access,
            peer_uid=peer_uid(request.scope),
            authorization=request.headers.get("authorization"),
        )

    async def _read(self, request: Request, endpoint: Endpoint, principal: Principal) -> Call[Any, Any]:
        """The call, allowed. A stranger is refused before the body is read; a body that names a project is asked
        about once more."""
        ref: str = request.path_params.get("ref", "")
        named = request.query_params.get("project")
        asked = Target(project=None if named is None else Project(named), ref=ref)
        authorize(principal, endpoint.action, asked)
        query = read_query(request.query_params.multi_items(), endpoint.query)
        content = await read_limited(request) if endpoint.method in ("POST", "PUT", "PATCH") else b""
        key = None if endpoint.method in ("GET", "PUT") else asked_of(request, principal, content)
        if endpoint.body is RawBytes:
            body: Any = RawBytes(content=content)
        else:
            body = await self._read_body(content, endpoint)
        project = getattr(body, "project", None)
        if project is not None:
            authorize(principal, endpoint.action, Target(project=project, ref=ref))
        return Call(service=self._service, principal=principal, ref=ref, query=query, body=body, asked=key)

    async def _read_body(self, content: bytes, endpoint: Endpoint) -> Any:
        """A large body is read in a thread, so that nobody waits for it."""
        if len(content) <= AT_ONCE_BYTES:
            return read_body(content, endpoint.body)
        return await self._service.call(read_body, content, endpoint.body)

    def _wrong_method(self, request: Request) -> Response:
        allowed = ", ".join(sorted(self._endpoints))
        response = error_response(
            BadRequest(f"{request.url.path} does not take {request.method}.", status=405, hint=f"It takes {allowed}.")
        )
        response.headers["Allow"] = allowed
        return response


class Metrics:
    """``GET /metrics`` as an ASGI app: text for Prometheus, at the path where it looks."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._answer(Request(scope, receive))
        except Exception as error:  # noqa: BLE001 - the edge, as in Resource
            response = error_response(as_known(error, stopping=self._service.stopping))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        who = request.headers.get("authorization")
        principal = authenticate(self._service.access, peer_uid=peer_uid(request.scope), authorization=who)
        authorize(principal, Action.READ_METRICS, Target())
        if request.method not in ("GET", "HEAD"):
            raise BadRequest(f"/metrics does not take {request.method}.", status=405, hint="It takes GET.")
        openmetrics = "application/openmetrics-text" in request.headers.get("accept", "")
        text = await self._service.call(self._service.plane.metrics, openmetrics=openmetrics)
        return Response(text, headers={"Content-Type": OPENMETRICS if openmetrics else TEXT})


async def _stream_response(service: Service, stream: Stream) -> Response:
    """The first page is read before the status is sent, so that a wrong name is a 404 and no line in a stream."""
    first = await stream.page()
    return StreamingResponse(_content(service, stream, first), media_type=NDJSON)


async def _content(service: Service, stream: Stream, first: list[StreamLine] | None) -> AsyncIterator[bytes]:
    service.active_streams += 1
    try:
        page = first
        while page is not None:
            yield encode_lines(page) or b"\n"
            try:
                page = await stream.page()
            except Exception as error:  # noqa: BLE001 - the edge, as in Resource
                known = as_known(error, stopping=service.stopping)
                yield encode_lines([StreamLine(error=error_body(known))])
                return
    finally:
        service.active_streams -= 1
