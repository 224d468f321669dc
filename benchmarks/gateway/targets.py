"""What is measured: our gateway and its peers, each a process before the same engines."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ampacity.model.access import ApiKey, Limits, ProjectLimits, digest_of, key_id
from ampacity.model.ids import DEFAULT_PROJECT
from ampacity.serving import compiled
from ampacity.serving.table import ModelRoute, ReplicaRoute, RoutingTable, write_table

HERE = Path(__file__).parent
KEY = "amp-of-the-benchmark"
PLENTY = Limits(requests_per_minute=10**9, tokens_per_minute=10**12, concurrency=10**6)
"""Limits that are counted and never reached."""

START_LIMIT_S = 120.0
PEERS = {"routers": ("vllm-router==0.1.17", "sglang-router==0.3.2"), "litellm": ("litellm[proxy]==1.106.0",)}


@dataclass(frozen=True)
class Target:
    """A gateway under test. ``process`` and its children are what its CPU time is taken of."""

    name: str
    port: int
    process: psutil.Process
    scheme: str = "http"

    def processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def cpu_s(self) -> float:
        total = 0.0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def rss_mb(self) -> float:
        total = 0
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total / 1e6


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(command: Sequence[str], log: Path, cpus: set[int], **environment: str) -> Iterator[psutil.Process]:
    """A process on these CPUs; ended at the end."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(command), stdout=out, stderr=out, env={**os.environ, **environment}, start_new_session=True
        )
    found = psutil.Process(process.pid)
    found.cpu_affinity(sorted(cpus))
    try:
        yield found
    finally:
        for child in [*found.children(recursive=True), found] if found.is_running() else []:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def until_healthy(port: int, log: Path, path: str = "/health", process: psutil.Process | None = None) -> None:
    """Raises ``RuntimeError`` with the log's end when it does not come up."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and (process is None or process.status() != psutil.STATUS_ZOMBIE):
        if _answers(port, path):
            return
        time.sleep(0.1)
    raise RuntimeError(f"{log.name} did not come up: {log.read_text()[-2000:]}")


def _answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def engines(count: int, folder: Path, cpus: set[int]) -> Iterator[list[int]]:
    """The ports of so many mock engines."""
    with contextlib.ExitStack() as stack:
        ports = [free_port() for _ in range(count)]
        for port in ports:
            log = folder / f"engine-{port}.log"
            stack.enter_context(running([sys.executable, str(HERE / "engine.py"), str(port)], log, cpus))
        for port in ports:
            until_healthy(port, folder / f"engine-{port}.log")
        yield ports


@contextlib.contextmanager
def ours(name: str, ports: list[int], folder: Path, cpus: set[int], *more: str) -> Iterator[Target]:
    """Our gateway, with everything on that a platform has on."""
    table, port, log = folder / f"{name}.json", free_port(), folder / f"{name}.log"
    replicas = tuple(ReplicaRoute(id=f"e{each}", url=f"http://127.0.0.1:{each}") for each in ports)
    route = ModelRoute(name="mock", workload="w", upstream="mock", replicas=replicas)
    key = ApiKey(id=key_id(digest_of(KEY)), name="bench", digest=digest_of(KEY), limits=PLENTY)
    everybody = ProjectLimits(project=DEFAULT_PROJECT, limits=PLENTY)
    write_table(table, RoutingTable(version=1, models=(route,), closed=True, keys=(key,), limits=(everybody,)))
    command = [sys.executable, "-m", "ampacity.serving.gateway", "--table", str(table), "--port", str(port), *more]
    with running(command, log, cpus) as process:
        until_healthy(port, log)
        yield Target(name, port, process)


def is_compiled() -> bool:
    """Whether gateways that start now find their hot path compiled."""
    found = compiled.folder()
    return found is not None and (found / "complete").exists()


def compile_hot_path() -> None:
    """As whoever installs it for production does."""
    subprocess.run([sys.executable, "-m", "ampacity.serving.compiling"], check=True)


def tls_arguments(folder: Path, port: int) -> tuple[str, ...]:
    """A port with TLS and a certificate made for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    certificate, secret = folder / "cert.pem", folder / "key.pem"
    secret.write_bytes(key.private_bytes(*form))
    certificate.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return ("--tls", f"127.0.0.1:{port}", "--tls-cert", str(certificate), "--tls-key", str(secret))


def peer_python(which: str) -> Path:
    """The interpreter of a virtual environment of the peers' own, made and filled when it is not there yet."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ampacity-benchmarks" / f"gateway-{which}"
    python = home / "bin" / "python"
    if not (home / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PEERS[which]], check=True)
        (home / "installed").write_text("\n".join(PEERS[which]) + "\n")
    return python


@contextlib.contextmanager
def vllm_router(ports: list[int], folder: Path, cpus: set[int], policy: str = "round_robin") -> Iterator[Target]:
    with _router("vllm", [str(peer_python("routers").parent / "vllm-router")], ports, folder, cpus, policy) as target:
        yield target


@contextlib.contextmanager
def sglang_router(ports: list[int], folder: Path, cpus: set[int], policy: str = "round_robin") -> Iterator[Target]:
    command = [str(peer_python("routers")), "-m", "sglang_router.launch_router", "--log-level", "error"]
    with _router("sglang", command, ports, folder, cpus, policy) as target:
        yield target


@contextlib.contextmanager
def _router(
    name: str, command: list[str], ports: list[int], folder: Path, cpus: set[int], policy: str
) -> Iterator[Target]:
    port, log = free_port(), folder / f"{name}-{policy}.log"
    urls = [f"http://127.0.0.1:{each}" for each in ports]
    listen = ["--host", "127.0.0.1", "--port", str(port), "--prometheus-port", str(free_port())]
    full = [*command, "--worker-urls", *urls, "--policy", policy, *listen]
    with running(full, log, cpus) as process:
        until_healthy(port, log)
        time.sleep(2.0)  # the workers are added one by one
        yield Target(name, port, process)


@contextlib.contextmanager
def litellm(ports: list[int], folder: Path, cpus: set[int]) -> Iterator[Target]:
    port, log, config = free_port(), folder / "litellm.log", folder / "litellm.yaml"
    models = [
        {
            "model_name": "mock",
            "litellm_params": {"model": "openai/mock", "api_base": f"http://127.0.0.1:{each}/v1", "api_key": "none"},
        }
        for each in ports
    ]
    config.write_text(json.dumps({"model_list": models}))
    command = [str(peer_python("litellm").parent / "litellm"), "--config", str(config), "--port", str(port)]
    open_door = {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}  # no key to look up, as the routers
    with running([*command, "--num_workers", "1"], log, cpus, LITELLM_LOG="ERROR", **open_door) as process:
        until_healthy(port, log, "/health/liveliness", process)
        yield Target("litellm", port, process)
