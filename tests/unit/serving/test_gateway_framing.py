"""How the gateway reads and passes on what is framed: chunks, heads, repeated heads, streams, upstreams."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, cast

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ampacity.serving.gateway.answers import LAST_CHUNK, chunk
from ampacity.serving.gateway.chunked import BadChunk, Dechunker, body_end
from ampacity.serving.gateway.engines import Engine
from ampacity.serving.gateway.heads import AnswerHead, answer_head, request_head
from ampacity.serving.gateway.repeats import repeat_of, repeated_answer
from ampacity.serving.gateway.streams import stream_for
from ampacity.serving.gateway.upstream import Upstream
from ampacity.serving.table import ReplicaRoute

PIECES = st.lists(st.binary(min_size=1, max_size=30), max_size=6)
CHUNKED = AnswerHead(status=200, forward=b"", chunked=True, events=True)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """The data in reads that end at these places."""
    places = sorted({place % (len(data) + 1) for place in at} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@settings(deadline=None)
@given(pieces=PIECES, at=st.lists(st.integers(0, 500)), extra=st.binary(max_size=9), trailer=st.booleans())
def test_a_chunked_body_is_read_the_same_however_it_comes(
    pieces: list[bytes], at: list[int], extra: bytes, trailer: bool
) -> None:
    end = b"0\r\nx: y\r\n\r\n" if trailer else LAST_CHUNK
    raw = b"".join(map(chunk, pieces)) + end
    reader = Dechunker()
    content = b"".join(reader.feed(read) for read in cut(raw + extra, at))
    assert (content, reader.ended, reader.over) == (b"".join(pieces), True, extra)
    assert body_end(raw + extra) == len(raw)


@pytest.mark.parametrize(
    "raw", [b"x\r\n", b"5\r\nabcdefg", b"1\r\nab\r\n", b"-1\r\n", b"\r\n", b"1 1\r\n", b"1" * 20000]
)
def test_what_is_no_chunked_body_is_said(raw: bytes) -> None:
    with pytest.raises(BadChunk):
        Dechunker().feed(raw)


def test_a_body_without_an_end_has_none() -> None:
    with pytest.raises(BadChunk, match="no end"):
        body_end(b"5\r\nabc")


@settings(deadline=None)
@given(words=st.lists(st.text(max_size=12), min_size=1), at=st.lists(st.integers(0, 900)), crlf=st.booleans())
def test_a_raw_stream_is_passed_on_whole_and_always_up_to_the_end_of_an_event(
    words: list[str], at: list[int], crlf: bool
) -> None:
    end = "\r\n\r\n" if crlf else "\n\n"
    events = [f"data: {word!r}{end}".encode() for word in words]
    raw = b"".join(map(chunk, events)) + LAST_CHUNK
    stream = stream_for(CHUNKED, chunks=True)
    reads = cut(raw, at)
    passed = b""
    for read in reads[:-1]:
        passed += stream.piece(read)
        reader = Dechunker()
        content = reader.feed(passed)
        assert reader.between_chunks or not passed or passed.endswith(LAST_CHUNK)
        assert not content or content.endswith(end.encode())
    assert passed + stream.last(reads[-1]) == raw


def test_an_event_that_never_ends_is_not_held_for_ever() -> None:
    stream = stream_for(CHUNKED, chunks=True)
    data = chunk(b"data: " + b"x" * 300_000)
    assert stream.piece(data) == data


@settings(deadline=None)
@given(pieces=PIECES, at=st.lists(st.integers(0, 500)), chunked=st.booleans(), chunks=st.booleans())
def test_other_framings_are_framed_anew(pieces: list[bytes], at: list[int], chunked: bool, chunks: bool) -> None:
    if chunked and chunks:
        return  # passed on raw
    head = AnswerHead(status=200, forward=b"", chunked=chunked, events=True)
    raw = b"".join(map(chunk, pieces)) + LAST_CHUNK if chunked else b"".join(pieces)
    stream = stream_for(head, chunks=chunks)
    out = b"".join(stream.piece(read) for read in cut(raw, at)) + stream.last(b"")
    assert (Dechunker().feed(out) if chunks else out) == b"".join(pieces)


HEAD = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\nX: y\r\n\r\n"


class Told:
    """What the parser says of one request."""

    def __init__(self, data: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        httptools.HttpRequestParser(self).feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body


@settings(deadline=None)
@given(first=st.binary(max_size=20), then=st.binary(max_size=300), spoil=st.integers(0, 60), to=st.binary(max_size=2))
def test_a_repeated_head_is_taken_for_read_only_where_the_parser_would_agree(
    first: bytes, then: bytes, spoil: int, to: bytes
) -> None:
    read = HEAD % len(first) + first
    repeat = repeat_of(read, Told(read).headers)
    assert repeat is not None
    again = HEAD % len(then) + then
    assert repeat.body_of(again) == then
    spoilt = again[:spoil] + to + again[spoil + 1 :]
    body = repeat.body_of(spoilt)
    if body is not None:
        told = Told(spoilt)
        assert [header for header in told.headers if header[0] != b"content-length"] == [(b"host", b"a"), (b"x", b"y")]
        assert told.body == body


@pytest.mark.parametrize("line", [b"Transfer-Encoding: chunked", b"Expect: 100-continue"])
def test_a_head_with_more_to_it_is_parsed_each_time(line: bytes) -> None:
    headers = [(b"content-length", b"0"), (line.partition(b":")[0].lower(), b"x")]
    assert repeat_of(b"POST / HTTP/1.1\r\ncontent-length: 0\r\n" + line + b"\r\n\r\n", headers) is None


ANSWER_HEAD = b"HTTP/1.1 200 OK\r\nServer: a\r\nContent-Length: %d\r\nX: y"


@settings(deadline=None)
@given(first=st.binary(max_size=20), then=st.binary(max_size=300), spoil=st.integers(0, 60), to=st.binary(max_size=2))
def test_a_repeated_answer_is_taken_for_read_only_where_the_parser_would_agree(
    first: bytes, then: bytes, spoil: int, to: bytes
) -> None:
    raw = ANSWER_HEAD % len(first)
    repeat = repeated_answer(raw, answer_head(raw, 200))
    assert repeat is not None
    again = ANSWER_HEAD % len(then) + b"\r\n\r\n" + then
    assert repeat.body_of(again) == then
    spoilt = again[:spoil] + to + again[spoil + 1 :]
    body = repeat.body_of(spoilt)
    if body is not None:
        end = spoilt.find(b"\r\n\r\n")
        head = answer_head(spoilt[:end], 200)
        assert (head.forward, head.length) == (b"HTTP/1.1 200 OK\r\nx: y\r\n", len(body))
        assert spoilt[end + 4 :] == body


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nX: y",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
    ],
)
def test_an_answer_whose_end_its_length_does_not_tell_is_parsed_each_time(raw: bytes) -> None:
    assert repeated_answer(raw, answer_head(raw, 200)) is None


def test_an_answer_without_a_body_is_parsed_each_time() -> None:
    raw = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9"
    assert repeated_answer(raw, answer_head(raw, 304)) is None


def test_headers_for_this_hop_alone_are_not_passed_on() -> None:
    headers = [(b"host", b"a"), (b"connection", b"x-hop, Keep-Alive"), (b"x-hop", b"1"), (b"te", b"z"), (b"x-id", b"2")]
    head = request_head(b"POST", b"/v1/x?a=b", headers, keep_alive=True, version="1.0")
    assert (head.forward, head.path, head.chunks) == (b"x-id: 2\r\n", b"/v1/x", False)
    answer = answer_head(
        b"HTTP/1.0 200 Fine\r\nServer: s\r\nConnection: x-hop\r\nX-Hop: 1\r\nContent-Length: 7\r\nX: y", 200
    )
    assert answer.forward == b"HTTP/1.1 200 Fine\r\nx: y\r\n"
    assert (answer.length, answer.framed, answer.keep_alive) == (7, True, False)


class Ears:
    """An exchange that notes what it is told, and a transport that notes what is done to it."""

    def __init__(self) -> None:
        self.heads: list[AnswerHead] = []
        self.body = b""
        self.ends = 0
        self.why = ""
        self.closed = False

    def headed(self, upstream: Upstream, head: AnswerHead) -> None:
        self.heads.append(head)

    def piece(self, upstream: Upstream, data: bytes) -> None:
        self.body += data

    def completed(self, upstream: Upstream, data: bytes) -> None:
        self.body += data
        self.ends += 1

    def lost(self, upstream: Upstream, why: str) -> None:
        self.why = why

    def write(self, data: bytes) -> None:
        assert data == b"ask"

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def asked() -> tuple[Upstream, Ears]:
    ears = Ears()
    upstream = Upstream(Engine(ReplicaRoute(id="a", url="http://127.0.0.1:1")))
    upstream.connection_made(cast(asyncio.Transport, ears))
    upstream.ask(b"ask", ears)
    return upstream, ears


LENGTH = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
CHUNKS = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(b"hel") + chunk(b"lo")
BODIES = {
    "length": (LENGTH, b"hello"),
    "chunks": (CHUNKS + LAST_CHUNK, CHUNKS[47:] + LAST_CHUNK),
    "trailers": (CHUNKS + b"0\r\nx: y\r\n\r\n", CHUNKS[47:] + b"0\r\nx: y\r\n\r\n"),
    "interim": (b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH, b"hello"),
    "none": (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
}


@pytest.mark.parametrize("name", BODIES)
@settings(deadline=None)
@given(at=st.lists(st.integers(0, 120)))
def test_an_answer_is_the_same_however_it_comes_and_its_connection_is_kept(name: str, at: list[int]) -> None:
    upstream, ears = asked()
    raw, body = BODIES[name]
    for _ in range(2):
        for read in cut(raw, at):
            upstream.data_received(read)
        assert (ears.body, ears.ends, ears.why, len(ears.heads)) == (body, 1, "", 1)
        assert upstream.engine.kept() is upstream
        ears.heads, ears.body, ears.ends = [], b"", 0
        upstream.ask(b"ask", ears)


@pytest.mark.parametrize("name", ["length", "chunks", "trailers"])
@pytest.mark.parametrize("extra", [LENGTH, CHUNKS + LAST_CHUNK, b"\r\n", b"nonsense", b"0\r\n\r\n"])
@settings(deadline=None)
@given(at=st.lists(st.integers(0, 200)))
def test_what_follows_an_answer_is_never_passed_on(name: str, extra: bytes, at: list[int]) -> None:
    upstream, ears = asked()
    raw, body = BODIES[name]
    for read in cut(raw + extra, at):
        upstream.data_received(read)
    assert (ears.body, ears.ends) == (body, 1)
    upstream.data_received(b"more")
    assert ears.closed
    assert (ears.body, ears.ends) == (body, 1)
    assert upstream.engine.kept() is None


@pytest.mark.parametrize(
    "raw",
    [
        b"HELLO\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000,
    ],
)
def test_an_engine_that_talks_nonsense_is_lost(raw: bytes) -> None:
    upstream, ears = asked()
    upstream.data_received(raw)
    assert ears.why
    assert ears.closed
    assert not ears.ends


@pytest.mark.parametrize("length", range(0, len(LENGTH)))
def test_an_engine_that_goes_in_the_middle_is_lost(length: int) -> None:
    upstream, ears = asked()
    if length:
        upstream.data_received(LENGTH[:length])
    upstream.connection_lost(None)
    assert (ears.why, ears.ends) == ("the connection was closed", 0)


def test_a_body_without_a_length_ends_with_its_connection() -> None:
    upstream, ears = asked()
    upstream.data_received(b"HTTP/1.1 200 OK\r\n\r\nhel")
    upstream.data_received(b"lo")
    upstream.connection_lost(None)
    assert (ears.body, ears.ends, ears.heads[0].framed) == (b"hello", 1, False)
    assert upstream.engine.kept() is None


def test_a_kept_connection_that_closes_is_forgotten() -> None:
    upstream, ears = asked()
    upstream.data_received(LENGTH)
    cast(Any, ears).closed = True
    upstream.connection_lost(None)
    assert not upstream.engine.idle
