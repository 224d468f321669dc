"""Workers that share a port, and TLS: what is killed is replaced, what is renewed is shown, nothing is left behind."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from test_gateway_http import Gateway, eventually

from ampacity.model.access import ApiKey, Limits, digest_of, key_id
from engine_double import EngineDouble

A_MINUTE = 12
"""Requests that the key of these tests may send."""


@pytest.fixture
def engine() -> Iterator[EngineDouble]:
    with EngineDouble() as found:
        yield found


@pytest.fixture
def shared(tmp_path: Path, engine: EngineDouble) -> Iterator[Gateway]:
    found = Gateway(tmp_path, "--workers", "2")
    try:
        eventually(lambda: len(workers(found)) == 2 and found.log.read_text().count("the dispatcher is there") >= 2)
        found.route({"tiny": [engine]})
        yield found
    finally:
        if found.process.poll() is None:
            found.end()


def family(gateway: Gateway) -> list[psutil.Process]:
    """The workers and the dispatcher."""
    return psutil.Process(gateway.process.pid).children()


def workers(gateway: Gateway) -> list[psutil.Process]:
    """The workers that are up."""
    return [each for each in family(gateway) if any(held.status == psutil.CONN_LISTEN for held in tcp(each))]


def tcp(process: psutil.Process) -> list[Any]:
    try:
        return process.net_connections("tcp")
    except psutil.NoSuchProcess:
        return []


def dispatcher(gateway: Gateway) -> psutil.Process | None:
    return next((each for each in family(gateway) if "--dispatches" in each.cmdline()), None)


def test_a_killed_worker_is_replaced_and_costs_its_own_connections_alone(shared: Gateway) -> None:
    clients = [httpx.Client() for _ in range(16)]
    body = {"model": "tiny", "prompt": "x"}
    for client in clients:
        assert client.post(shared.url + "/v1/completions", json=body).status_code == 200
    first, second = workers(shared)
    held = [len(worker.net_connections("tcp")) for worker in (first, second)]
    assert sum(held) >= 18, "16 clients, and two that listen"
    first.kill()
    eventually(lambda: first.pid not in [each.pid for each in workers(shared)] and len(workers(shared)) == 2)
    lost = 0
    for client in clients:
        try:
            assert client.post(shared.url + "/v1/completions", json=body).status_code == 200
        except httpx.TransportError:
            lost += 1
    assert lost < held[0]
    assert "is replaced" in shared.log.read_text()
    assert [shared.ask().status_code for _ in range(8)] == [200] * 8
    for client in clients:
        client.close()


def test_sigterm_ends_all_workers(shared: Gateway) -> None:
    everybody = family(shared)
    assert len(everybody) == 3
    assert shared.end() == 0
    assert not any(each.is_running() for each in everybody)


def test_workers_end_when_their_parent_is_killed(shared: Gateway) -> None:
    everybody = family(shared)
    shared.process.kill()
    shared.process.wait()
    eventually(lambda: not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in everybody))


def settled(gateway: Gateway, **more: Any) -> None:
    """Write a table, and wait until both workers and the dispatcher go by it."""
    gateway.route(**more)
    line = f"version {gateway.version} of the routing table is in force"
    eventually(lambda: gateway.log.read_text().count(line) >= 3)


def answers(gateway: Gateway, count: int) -> list[int]:
    """The statuses of so many requests, each on a connection of its own, so that any worker may have it."""
    return [gateway.ask(key="often").status_code for _ in range(count)]


def assert_one_limit(gateway: Gateway) -> None:
    """Both workers together let through what the key may have at once, and what it earned meanwhile."""
    began = time.monotonic()
    found = answers(gateway, 3 * A_MINUTE)
    earned = (time.monotonic() - began) * A_MINUTE / 60
    assert set(found) == {200, 429}
    assert A_MINUTE <= found.count(200) <= A_MINUTE + earned + 1


def test_the_workers_have_one_view_and_go_on_while_it_is_gone(shared: Gateway, engine: EngineDouble) -> None:
    digest = digest_of("often")
    key = ApiKey(id=key_id(digest), name="often", digest=digest, limits=Limits(requests_per_minute=A_MINUTE))
    settled(shared, models={"tiny": [engine]}, keys=(key,))
    assert_one_limit(shared)
    assert len({(seen.headers["x-request-id"])[:12] for seen in engine.seen}) == 2, "both workers have served"
    settled(shared, models={"tiny": [engine]})
    standing = dispatcher(shared)
    assert standing is not None
    with EngineDouble("slow") as slow:
        settled(shared, models={"tiny": [slow]})
        body = {"model": "tiny", "prompt": "x", "stream": True, "pause_s": 0.2}
        with httpx.stream("POST", shared.url + "/v1/completions", json=body, timeout=20) as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("data: ")
            standing.kill()
            assert [shared.ask().status_code for _ in range(20)] == [200] * 20
            assert list(lines)[-2] == "data: [DONE]"
    eventually(lambda: shared.log.read_text().count("the dispatcher is there") >= 4)
    settled(shared, models={"tiny": [engine]}, keys=(key,))
    assert_one_limit(shared)


def test_a_dispatcher_that_was_killed_is_told_of_the_streams_under_way(shared: Gateway, engine: EngineDouble) -> None:
    standing = dispatcher(shared)
    assert standing is not None
    with contextlib.ExitStack() as streams, EngineDouble("second") as second:
        lines = [begin_stream(shared, streams) for _ in range(4)]
        assert len(engine.seen) == 4
        standing.kill()
        eventually(lambda: shared.log.read_text().count("the dispatcher is there") >= 4)
        settled(shared, models={"tiny": [engine, second]})
        lines += [begin_stream(shared, streams) for _ in range(4)]
        assert (len(engine.seen), len(second.seen)) == (4, 4), "the one that had four already gets no more"
        assert all(next(each).startswith("data: ") for each in lines), "all of them go on"
    assert shared.ask().status_code == 200


def begin_stream(gateway: Gateway, streams: contextlib.ExitStack) -> Iterator[str]:
    """The lines of one that goes on for long, its first token taken."""
    body = {"model": "tiny", "prompt": "x", "stream": True, "pause_s": 0.5, "repeat": 50}
    stream = streams.enter_context(httpx.stream("POST", gateway.url + "/v1/completions", json=body, timeout=20))
    lines = (line for line in stream.iter_lines() if line)
    assert next(lines).startswith("data: ")
    return lines


def test_metrics_are_those_of_all_workers(shared: Gateway) -> None:
    assert [shared.ask().status_code for _ in range(12)] == [200] * 12
    line = 'gen_ai_server_request_duration_seconds_count{gen_ai_request_model="tiny"} 12'
    eventually(lambda: all(line in httpx.get(shared.url + "/metrics").text for _ in range(4)))
    text = httpx.get(shared.url + "/metrics").text
    assert 'gen_ai_client_token_usage_sum{gen_ai_request_model="tiny",gen_ai_token_type="output"} 48' in text


def test_a_port_in_use_is_one_clear_line_for_workers_too(shared: Gateway) -> None:
    command = [sys.executable, "-m", "ampacity.serving.gateway", "--table", "x", "--port", str(shared.port)]
    done = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"error: The port {shared.port} on 127.0.0.1 cannot be listened on" in done.stderr


def write_certificate(folder: Path, name: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
    signed = builder.not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(*form))
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))


def shown_name(port: int) -> str:
    """The name in the certificate that is shown there."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port)) as raw, context.wrap_socket(raw) as secure:
        found = secure.getpeercert(binary_form=True)
    assert found is not None
    return str(x509.load_der_x509_certificate(found).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("count", ["1", "2"])
def test_tls_with_a_certificate_that_is_renewed_while_it_serves(
    tmp_path: Path, engine: EngineDouble, count: str
) -> None:
    port = free_port()
    write_certificate(tmp_path, "first")
    files = ["--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    gateway = Gateway(tmp_path, "--workers", count, "--tls", f"127.0.0.1:{port}", *files)
    try:
        gateway.route({"tiny": [engine]})
        with httpx.Client(verify=False) as client:
            url = f"https://127.0.0.1:{port}/v1/completions"
            assert client.post(url, json={"model": "tiny", "prompt": "x"}).status_code == 200
            assert shown_name(port) == "first"
            (tmp_path / "key.pem").write_bytes(b"nonsense")
            eventually(lambda: "the certificate cannot be read" in gateway.log.read_text())
            assert shown_name(port) == "first"
            write_certificate(tmp_path, "second")
            eventually(lambda: {shown_name(port) for _ in range(6)} == {"second"})
            assert client.post(url, json={"model": "tiny", "prompt": "x"}).status_code == 200
    finally:
        assert gateway.end() == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tls", "7443"], "needs --tls-cert and --tls-key"),
        (["--tls", "7443", "--tls-cert", "a", "--tls-key", "b"], "is no HOST:PORT"),
        (["--tls", "127.0.0.1:0", "--tls-cert", "a", "--tls-key", "b"], "cannot be used"),
    ],
)
def test_what_is_wrong_with_tls_is_said(arguments: list[str], words: str) -> None:
    command = [sys.executable, "-m", "ampacity.serving.gateway", "--table", "x", "--port", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_that_is_told_to_end_lets_its_streams_finish(shared: Gateway) -> None:
    body = {"model": "tiny", "prompt": "x", "stream": True, "pause_s": 0.1}
    with httpx.stream("POST", shared.url + "/v1/completions", json=body, timeout=20) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("data: ")
        os.kill(shared.process.pid, signal.SIGTERM)
        assert list(lines)[-2] == "data: [DONE]"
    assert shared.process.wait(120) == 0
