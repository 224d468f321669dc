"""Engines that lie, babble or never end, and clients that are slow on purpose: nobody else is hurt by either."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from gateway_process import Gateway, eventually, post, running_gateway

from ampacity.serving.gateway import client as client_side
from ampacity.serving.gateway.client import Client
from ampacity.serving.gateway.core import Core
from ampacity.serving.gateway.desk import OwnDesk
from ampacity.serving.gateway.tables import Tables
from ampacity.serving.table import RoutingTable, write_table
from engine_double import EngineDouble


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("gateway")) as found:
        yield found


class Liar(EngineDouble):
    """Answers every POST with the same bytes, and then keeps the connection or not."""

    says: bytes = b""
    stays: bool = True

    async def _answer(self, request: Any, reader: Any, writer: Any) -> bool:
        if request.method == "GET":
            return await super()._answer(request, reader, writer)
        writer.write(self.says)
        await writer.drain()
        return self.stays


def liar(says: bytes, *, stays: bool) -> Liar:
    found = Liar("liar", fault="")
    found.says, found.stays = says, stays
    return found


WHOLE = b'{"id":"liar","usage":{"prompt_tokens":1,"completion_tokens":1}}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    ("says", "stays"),
    [
        pytest.param(HEAD + b"content-length: 9999\r\n\r\n" + WHOLE, False, id="more is promised than comes"),
        pytest.param(HEAD + b"transfer-encoding: chunked\r\n\r\nfff\r\n" + WHOLE, False, id="a chunk that is cut"),
        pytest.param(HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n" + WHOLE, True, id="a chunk that is none"),
        pytest.param(HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\n" + WHOLE, True, id="two lengths"),
        pytest.param(HEAD + b"content-length: -5\r\n\r\n" + WHOLE, True, id="a negative length"),
        pytest.param(b"HTTP/1.1 999999 OK\r\n\r\n", True, id="no status"),
        pytest.param(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", True, id="no header"),
        pytest.param(b"\x00\xff" * 200, True, id="no HTTP"),
        pytest.param(HEAD + b"x: " + b"y" * 200_000, True, id="a head without an end"),
    ],
)
def test_another_engine_answers_for_one_that_lies(gateway: Gateway, says: bytes, stays: bool) -> None:
    with liar(says, stays=stays) as bad, EngineDouble("good") as good:
        gateway.route({"tiny": [bad, good]})
        while not any(seen.method == "POST" for seen in bad.seen):
            answer = gateway.ask()
            assert (answer.status_code, answer.json()["id"]) == (200, "good")


def test_what_an_engine_says_beyond_its_answer_is_nobodys(gateway: Gateway) -> None:
    """A second answer that nobody asked for must not become the next client's."""
    answer = HEAD + b"content-length: %d\r\n\r\n%s" % (len(WHOLE), WHOLE)
    poison = HEAD + b"content-length: 15\r\n\r\n" + b'{"id":"poison"}'
    for more in (b"x", poison, b"\r\n\r\n"):
        with liar(answer + more, stays=True) as bad:
            gateway.route({"tiny": [bad]})
            with httpx.Client() as client:
                for _ in range(4):
                    said = client.post(gateway.url + "/v1/completions", json={"model": "tiny", "prompt": "x"})
                    assert (said.status_code, said.content) == (200, WHOLE)


def test_a_success_that_is_no_json_is_passed_on_as_it_is(gateway: Gateway) -> None:
    with liar(HEAD + b"content-length: 4\r\n\r\n\xff{]\x00", stays=True) as bad:
        gateway.route({"tiny": [bad]})
        assert gateway.ask().content == b"\xff{]\x00"


class Endless(EngineDouble):
    """Its answers never end. ``kind``: their content type."""

    kind: bytes = b"text/event-stream"

    async def _answer(self, request: Any, reader: Any, writer: Any) -> bool:
        if request.method == "GET":
            return await super()._answer(request, reader, writer)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ntransfer-encoding: chunked\r\n\r\n" % self.kind)
        try:
            while True:
                writer.write(b"1000\r\ndata: " + b"x" * 4088 + b"\n\n" + b"\r\n")
                await writer.drain()
        except ConnectionError:
            self.gone += 1
            raise


@pytest.mark.parametrize("kind", [b"application/json", b"text/event-stream"])
def test_an_answer_without_an_end_ends_with_its_client(gateway: Gateway, kind: bytes) -> None:
    with Endless() as engine:
        engine.kind = kind
        gateway.route({"tiny": [engine]})
        with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
            connection.sendall(post(b'{"model": "tiny", "stream": true}'))
            received = 0
            while received < 12 << 20:
                received += len(connection.recv(1 << 20))
        eventually(lambda: engine.gone == 1)


def test_a_client_that_reads_nothing_holds_back_its_engine_and_nobody_else(gateway: Gateway) -> None:
    with Endless() as endless, EngineDouble() as engine:
        gateway.route({"endless": [endless], "tiny": [engine]})
        with socket.create_connection(("127.0.0.1", gateway.port)) as sleeping:
            sleeping.sendall(post(b'{"model": "endless", "stream": true}'))
            eventually(lambda: any(seen.method == "POST" for seen in endless.seen))
            assert [gateway.ask().status_code for _ in range(20)] == [200] * 20
            memory = psutil.Process(gateway.process.pid).memory_info
            before = memory().rss
            assert [gateway.ask().status_code for _ in range(20)] == [200] * 20
            assert memory().rss - before < 32 << 20
        eventually(lambda: endless.gone == 1)


class Slow:
    """A gateway within this process, whose clients have little time."""

    def __init__(self, folder: Path) -> None:
        write_table(folder / "table.json", RoutingTable(version=1))
        self.core = Core(Tables(folder / "table.json"), "least_loaded", OwnDesk())

    async def answer(self, pieces: list[bytes], pause_s: float) -> bytes:
        """What comes back to a client that sends a piece now and then until it is told something."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Client(self.core), "127.0.0.1", 0)
        transport, heard = await loop.create_connection(Heard, *server.sockets[0].getsockname())
        sending = iter(pieces)
        try:
            while not heard.gone:
                if not heard.received and (piece := next(sending, b"")):
                    transport.write(piece)
                await asyncio.sleep(pause_s)
                self.core.tick()
        finally:
            transport.close()
            server.close()
        return heard.received


class Heard(asyncio.Protocol):
    received = b""
    gone = False

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True


def test_a_head_that_drips_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_side, "READ_LIMIT_S", 0.3)
    drops = [b"POST /v1/completions HTTP/1.1\r\n", *(b"x-%d: y\r\n" % n for n in range(1000))]
    answer = asyncio.run(asyncio.wait_for(Slow(tmp_path).answer(drops, 0.05), 30))
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"did not come in time" in answer


def test_a_body_that_stops_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_side, "READ_LIMIT_S", 0.3)
    answer = asyncio.run(asyncio.wait_for(Slow(tmp_path).answer([post(b"{", b"content-length: 100")], 0.05), 30))
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_drips_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_side, "READ_LIMIT_S", 0.5)
    drops = [post(b"{", b"content-length: 100000"), *(b" " for _ in range(10_000))]
    answer = asyncio.run(asyncio.wait_for(Slow(tmp_path).answer(drops, 0.02), 30))
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_body_that_comes_steadily_may_take_longer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_side, "READ_LIMIT_S", 0.5)
    monkeypatch.setattr(client_side, "LEAST_BYTES_S", 100)
    drops = [post(b"", b"content-length: 2000", b"connection: close"), *(b" " * 40 for _ in range(50))]
    answer = asyncio.run(asyncio.wait_for(Slow(tmp_path).answer(drops, 0.03), 30))
    assert answer.startswith(b"HTTP/1.1 400 "), "it was read to its end, and is no JSON"


def test_many_slow_clients_do_not_keep_others_waiting(gateway: Gateway) -> None:
    with EngineDouble() as engine:
        gateway.route({"tiny": [engine]})
        slow = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(300)]
        try:
            for connection in slow:
                connection.sendall(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-")
            codes: list[int] = []
            clients = [threading.Thread(target=lambda: codes.append(gateway.ask().status_code)) for _ in range(8)]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            assert codes == [200] * 8
        finally:
            for connection in slow:
                connection.close()
