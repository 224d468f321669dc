"""Bytes that nobody should send, to the real gateway: it lives, and hands on exactly what a strict parser reads.

The danger is a request that the gateway and an engine cut differently (smuggling, RFC 9112, section 11.2): so whatever
an engine hears is held against h11's reading of the same bytes.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import h11
import pytest
from gateway_process import Gateway, running_gateway
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine_double import EngineDouble

BODY = json.dumps({"model": "tiny", "prompt": "x" * 20}).encode()
PROBE = "a probe"
SILENT_S = 0.05
QUICK = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("gateway")) as found:
        yield found


@pytest.fixture(scope="module")
def engine(gateway: Gateway) -> Iterator[EngineDouble]:
    with EngineDouble() as found:
        gateway.route({"tiny": [found]})
        yield found


def by_h11(data: bytes) -> list[bytes]:
    """The bodies of the requests that h11 reads, one behind the other, until it meets something that is none.

    What comes before the first line's first letter, and blanks within that line, are nothing that an engine could be
    led astray by: they are not held against the gateway, which hands on neither.
    """
    line, end, rest = data.lstrip(b"\r\n").partition(b"\r\n")
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    bodies: list[bytes] = []
    try:
        connection.receive_data(_single_blanks(line) + end + rest)
        while isinstance(connection.next_event(), h11.Request):
            body = b""
            while isinstance(event := connection.next_event(), h11.Data):
                body += bytes(event.data)
            if not isinstance(event, h11.EndOfMessage):
                break
            bodies.append(body)
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            connection.start_next_cycle()
    except (h11.RemoteProtocolError, h11.LocalProtocolError):
        pass
    return bodies


def _single_blanks(line: bytes) -> bytes:
    return b" ".join(part for part in line.split(b" ") if part)


def exchange(gateway: Gateway, engine: EngineDouble, data: bytes) -> tuple[bytes, list[bytes]]:
    """What comes back, and what the engine heard meanwhile. When a request that came later has been answered, there is
    nothing more to wait for but the answer to what the engine has heard."""
    before = len(heard(engine))
    received = b""
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        try:
            connection.sendall(data)
            assert gateway.ask(prompt=PROBE).status_code == 200
            passed_on = heard(engine)[before:]
            connection.settimeout(10.0 if passed_on else SILENT_S)
            while piece := connection.recv(65536):
                received += piece
        except (TimeoutError, ConnectionError):
            pass
    return received, heard(engine)[before:]


def check(gateway: Gateway, engine: EngineDouble, data: bytes) -> None:
    """Send it, and hold what came back and what the engine heard against each other."""
    answer, passed_on = exchange(gateway, engine, data)
    assert gateway.process.poll() is None
    statuses = answers_in(answer)
    read = by_h11(data)
    assert all(body in read for body in passed_on), (
        f"the engine heard what a strict parser does not read: {data[:300]!r}"
    )
    assert set(statuses) <= {200, 400, 404, 405, 408, 413, 431, 501, 505}, answer[:200]
    assert statuses.count(200) == len(passed_on) <= 1, (statuses, len(passed_on), data[:300], answer[:300])


def heard(engine: EngineDouble) -> list[bytes]:
    return [seen.body for seen in engine.seen if seen.method == "POST" and PROBE.encode() not in seen.body]


def answers_in(data: bytes) -> list[int]:
    """The statuses of all answers; each is whole HTTP."""
    found = []
    while data:
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method="POST", target="/", headers=[("host", "x"), ("content-length", "0")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(data)
        event = connection.next_event()
        while isinstance(event, h11.InformationalResponse):
            event = connection.next_event()
        assert isinstance(event, h11.Response), data[:100]
        found.append(event.status_code)
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            assert isinstance(event, h11.Data), "the answer is not whole"
        data = connection.trailing_data[0]
    return found


def request(*lines: bytes, body: bytes = BODY, start: bytes = b"POST /v1/completions HTTP/1.1") -> bytes:
    return b"\r\n".join([start, b"Host: x", b"Connection: close", *lines]) + b"\r\n\r\n" + body


def chunked(*sizes_and_data: tuple[bytes, bytes], end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(size + b"\r\n" + data + b"\r\n" for size, data in sizes_and_data) + end


N = b"%d" % len(BODY)
HALVES = ((b"%x" % 10, BODY[:10]), (b"%x" % (len(BODY) - 10), BODY[10:]))
CHUNKED = b"Transfer-Encoding: chunked"
SMUGGLED = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(request(b"Content-Length: " + N), id="whole"),
        pytest.param(request(CHUNKED, body=chunked(*HALVES)), id="chunks"),
        pytest.param(request(b"Content-Length: " + N, CHUNKED, body=chunked(*HALVES)), id="both, chunks"),
        pytest.param(request(CHUNKED, b"Content-Length: 3", body=chunked(*HALVES)), id="both, the other way"),
        pytest.param(request(b"Content-Length: " + N, b"Content-Length: 3"), id="two lengths"),
        pytest.param(request(b"Content-Length: " + N, b"Content-Length: " + N), id="twice the same length"),
        pytest.param(request(b"Content-Length: %s, %s" % (N, N)), id="a list of lengths"),
        pytest.param(request(b"Content-Length: +" + N), id="a signed length"),
        pytest.param(request(b"Content-Length: -1"), id="a negative length"),
        pytest.param(request(b"Content-Length: 0x20"), id="a hexadecimal length"),
        pytest.param(request(b"Content-Length: 99999999999999999999"), id="a huge length"),
        pytest.param(request(b"Content-Length : " + N), id="a blank before the colon"),
        pytest.param(request(b" Content-Length: " + N), id="a blank before the name"),
        pytest.param(request(b"Content-Length:\x0b" + N), id="a vertical tab"),
        pytest.param(request(b"Transfer-Encoding: xchunked", body=chunked(*HALVES)), id="an unknown coding"),
        pytest.param(request(b"Transfer-Encoding: chunked, identity", body=chunked(*HALVES)), id="chunked not last"),
        pytest.param(request(b"Transfer-Encoding: identity, chunked", body=chunked(*HALVES)), id="two codings"),
        pytest.param(request(b"Transfer-Encoding:\x0bchunked", body=chunked(*HALVES)), id="a tab before the coding"),
        pytest.param(request(CHUNKED, CHUNKED, body=chunked(*HALVES)), id="chunked twice"),
        pytest.param(request(CHUNKED, b"Transfer-Encoding: identity", body=chunked(*HALVES)), id="then identity"),
        pytest.param(request(CHUNKED, body=b"-1\r\n\r\n0\r\n\r\n"), id="a negative chunk"),
        pytest.param(request(CHUNKED, body=b"0x10\r\n" + BODY), id="a hexadecimal chunk"),
        pytest.param(request(CHUNKED, body=b"ffffffffffffffffff\r\n" + BODY), id="a huge chunk"),
        pytest.param(request(CHUNKED, body=chunked(*HALVES).replace(b"\r\n", b"\n")), id="chunks with bare newlines"),
        pytest.param(request(CHUNKED, body=chunked((b"a", BODY[:11]))), id="a chunk longer than it says"),
        pytest.param(request(CHUNKED, body=chunked((b"a;x=y", BODY[:10]), HALVES[1])), id="an extension"),
        pytest.param(request(CHUNKED, body=chunked(*HALVES, end=b"0\r\nX: y\r\n\r\n")), id="a trailer"),
        pytest.param(request(b"Content-Length: " + N, body=BODY + SMUGGLED), id="another one behind it"),
        pytest.param(request(CHUNKED, body=chunked(*HALVES) + SMUGGLED), id="another one behind chunks"),
        pytest.param(request(b"Content-Length: 0", body=SMUGGLED), id="a body that is a request"),
        pytest.param(request(b"X: a\r\n b", b"Content-Length: " + N), id="a folded line"),
        pytest.param(request(b"X: a\rY: b", b"Content-Length: " + N), id="a bare return"),
        pytest.param(request(b"X: a\nY: b", b"Content-Length: " + N), id="a bare newline"),
        pytest.param(request(b"X: \x00", b"Content-Length: " + N), id="a null in a value"),
        pytest.param(request(b"X\x00: y", b"Content-Length: " + N), id="a null in a name"),
        pytest.param(request(b": y", b"Content-Length: " + N), id="no name"),
        pytest.param(request(b"X: \xff\xfe", b"Content-Length: " + N), id="no ASCII in a value"),
        pytest.param(request(b"Content-Length: " + N, start=b"POST /v1/completions HTTP/1.2"), id="another version"),
        pytest.param(request(b"Content-Length: " + N, start=b"POST /v1/completions HTTP/0.9"), id="an old version"),
        pytest.param(request(b"Content-Length: " + N, start=b"POST /v1/completionsHTTP/1.1"), id="no version"),
        pytest.param(request(b"Content-Length: " + N, start=b"POST  /v1/completions HTTP/1.1"), id="two blanks"),
        pytest.param(request(b"Content-Length: " + N, start=b"post /v1/completions HTTP/1.1"), id="a small method"),
        pytest.param(
            request(b"Content-Length: " + N, start=b"POST http://a/v1/completions HTTP/1.1"), id="a whole URL"
        ),
        pytest.param(request(b"Content-Length: " + N, start=b"CONNECT a:80 HTTP/1.1"), id="a tunnel"),
        pytest.param(request(b"Content-Length: 22", body=b'{"model": "\xff\xfe tiny"}'), id="no UTF-8"),
        pytest.param(request(b"Content-Length: 20", body=b'{"model": "\\ud800xx"}'), id="half a pair"),
        pytest.param(request(b"Content-Length: 5", body=b"[" * 5), id="open brackets"),
        pytest.param(request(b"Content-Length: 100000", body=b"[" * 100_000), id="deep brackets"),
        pytest.param(request(b"X: " + b"y" * 70_000), id="a long head"),
        pytest.param(request(*(b"X%d: y" % n for n in range(5000)), b"Content-Length: " + N), id="many lines"),
        pytest.param(b"\r\n\r\n" + request(b"Content-Length: " + N), id="empty lines before it"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", id="TLS"),
    ],
)
def test_what_an_engine_hears_is_what_a_strict_parser_reads(
    gateway: Gateway, engine: EngineDouble, data: bytes
) -> None:
    check(gateway, engine, data)


names = st.sampled_from(
    [b"Content-Length", b"Transfer-Encoding", b"content-length", b"X", b"Expect", b"Connection", b"TE"]
)
values = st.sampled_from(
    [
        N,
        b" " + N,
        N + b" ",
        b"0",
        b"+5",
        b"5,5",
        b"chunked",
        b"Chunked",
        b"gzip, chunked",
        b"100-continue",
        b"upgrade",
        b"",
    ]
)
header_lines = st.builds(
    lambda name, colon, value: name + colon + value, names, st.sampled_from([b":", b": ", b" :"]), values
)
bodies = st.one_of(
    st.just(BODY),
    st.just(chunked(*HALVES)),
    st.builds(lambda cut: chunked(*HALVES)[:cut], st.integers(0, 80)),
    st.builds(lambda body, more: body + more, st.sampled_from([BODY, chunked(*HALVES)]), st.binary(max_size=30)),
    st.binary(max_size=60),
)


@QUICK
@given(lines=st.lists(header_lines, max_size=4), body=bodies)
@example(lines=[b"Content-Length: 0", CHUNKED], body=chunked(*HALVES))
def test_framing_in_all_combinations(gateway: Gateway, engine: EngineDouble, lines: list[bytes], body: bytes) -> None:
    check(gateway, engine, request(*lines, body=body))


@QUICK
@given(
    at=st.integers(0, 200),
    removed=st.integers(0, 5),
    noise=st.one_of(st.binary(max_size=20), st.sampled_from([b"\r\n", b"\n", b"\r", b"\x00", b" ", b":", b"\r\n\r\n"])),
    whole=st.sampled_from([request(b"Content-Length: " + N), request(CHUNKED, body=chunked(*HALVES))]),
)
def test_a_request_that_was_damaged_anywhere(
    gateway: Gateway, engine: EngineDouble, at: int, removed: int, noise: bytes, whole: bytes
) -> None:
    check(gateway, engine, whole[:at] + noise + whole[at + removed :])


def test_afterwards_it_serves_as_before(gateway: Gateway, engine: EngineDouble) -> None:
    assert gateway.ask().status_code == 200
    assert "Traceback" not in gateway.log.read_text()
