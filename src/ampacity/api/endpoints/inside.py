"""What is inside a job: its files, in both directions, piece by piece, and commands that run beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from ampacity.drivers.base import FileEntry, FileKind, MemberFiles
from ampacity.model.errors import InvalidSpec, NotFound, Where

from ..answers import FilePage, Received
from ..authorize import Action
from ..bodies import ContentQuery, ExecQuery, FilesQuery, Nothing, RawBytes, UploadQuery
from ..endpoint import Answer, Call, Content, Endpoint, answer
from ..frames import Exit
from ..pages import read_place, write_place
from ..terminal import run_terminal
from ..wire import FILE_MODE_HEADER, FILE_SIZE_HEADER, FILE_VERSION_HEADER

READ_BYTES = 1 << 20


def files(call: Call[FilesQuery, Nothing]) -> Answer:
    """What the path names, and, where it is a folder, what is in it."""
    query = call.query
    place = read_place(query.next, tuple[str])
    found = _of(call)
    entry = found.entry(query.path)
    if entry.kind is not FileKind.FOLDER:
        return answer(FilePage(entry=entry, entries=()))
    inside = found.entries(query.path, limit=query.limit + 1, after=place[0] if place else "")
    following = write_place((inside[query.limit - 1].name,)) if len(inside) > query.limit else None
    return answer(FilePage(entry=entry, entries=inside[: query.limit], next=following))


async def content(call: Call[ContentQuery, Nothing]) -> Content:
    """The bytes of a file from the offset on. A file that changes while it is read ends the stream too soon."""
    query, service = call.query, call.service
    found = await service.call(_of, call)
    entry = await service.call(found.entry, query.path)
    if entry.kind is not FileKind.FILE:
        raise NotFound(f"{query.path!r} is no file.", hint="Ask for its entries.")
    if query.offset > entry.size_bytes:
        raise InvalidSpec(f"The file has {entry.size_bytes} bytes.", where=Where(key="offset"))
    first = await service.call(_read, found, query, entry, query.offset)
    left = entry.size_bytes - query.offset

    async def pieces() -> AsyncIterator[bytes]:
        sent, piece = 0, first
        while piece:
            yield piece
            sent += len(piece)
            if sent >= left or service.stopping:
                return
            piece = await service.call(_read, found, query, entry, query.offset + sent)

    headers = {
        "Content-Length": str(left),
        FILE_SIZE_HEADER: str(entry.size_bytes),
        FILE_VERSION_HEADER: entry.version,
        FILE_MODE_HEADER: f"{entry.mode:o}",
    }
    return Content(headers=headers, pieces=pieces())


def upload(call: Call[UploadQuery, RawBytes]) -> Answer:
    query = call.query
    received = _of(call).write(query.path, call.body.content, offset=query.offset, size=query.size, mode=query.mode)
    return answer(Received(received_bytes=received, whole=received == query.size))


def _of(call: Call[FilesQuery, Nothing] | Call[ContentQuery, Nothing] | Call[UploadQuery, RawBytes]) -> MemberFiles:
    query = call.query
    return call.service.plane.files(call.ref, project=query.project, replica=query.replica, member=query.member)


def _read(found: MemberFiles, query: ContentQuery, entry: FileEntry, offset: int) -> bytes:
    limit = min(READ_BYTES, entry.size_bytes - offset)
    return found.read(query.path, offset=offset, limit=limit, version=query.version or entry.version)


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        name="listFiles",
        summary="A file or folder of a job, and what is in it.",
        method="GET",
        path="/workloads/{ref}/files",
        action=Action.READ_FILES,
        query=FilesQuery,
        answer=FilePage,
        handler=files,
    ),
    Endpoint(
        name="readFile",
        summary="The bytes of a file of a job, from an offset on.",
        method="GET",
        path="/workloads/{ref}/content",
        action=Action.READ_FILES,
        query=ContentQuery,
        answer=RawBytes,
        content=content,
    ),
    Endpoint(
        name="writeFile",
        summary="Write a part of a file of a job; it is there when all of its parts are.",
        method="PUT",
        path="/workloads/{ref}/content",
        action=Action.WRITE_FILES,
        query=UploadQuery,
        body=RawBytes,
        answer=Received,
        handler=upload,
    ),
    Endpoint(
        name="exec",
        summary="Run a command inside a job, on a terminal or with pipes, over an upgraded connection.",
        method="GET",
        path="/workloads/{ref}/exec",
        action=Action.EXEC,
        query=ExecQuery,
        answer=Exit,
        status=101,
        upgrade=run_terminal,
    ),
)
