"""What a gateway is told on its command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ampacity.model.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """A second port, for the network, with a certificate of one's own."""

    host: str
    port: int
    certificate: Path
    key: Path

    def arguments(self) -> list[str]:
        """How a command line says it."""
        return ["--tls", f"{self.host}:{self.port}", "--tls-cert", str(self.certificate), "--tls-key", str(self.key)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``workers``: processes that share the port. ``parent_fd``: this is one of them; its parent is gone when this
    pipe ends. ``dispatcher``: the socket of the one that decides for all workers; ``dispatches``: this is the one."""

    table: Path
    host: str
    port: int
    router: str = "least_loaded"
    workers: int = 1
    tls: Tls | None = None
    parent_fd: int | None = None
    dispatcher: Path | None = None
    dispatches: bool = False


def parse(arguments: Sequence[str] | None, routers: Sequence[str]) -> Options:
    """Raises ``UserError``; exits with 2 on what argparse refuses."""
    parser = argparse.ArgumentParser(prog="ampacity.serving.gateway")
    parser.add_argument("--table", type=Path, required=True, help="the routing table's file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--router", choices=routers, default="least_loaded", help="the policy of models that name none")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the port")
    parser.add_argument("--tls", metavar="HOST:PORT", help="listen there as well, with TLS")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="the certificate and its chain, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument("--parent-fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--dispatcher", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--dispatches", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.workers < 1:
        parser.error("--workers: at least one")
    return Options(
        table=given.table,
        host=given.host,
        port=given.port,
        router=given.router,
        workers=given.workers,
        tls=tls_of(given.tls, given.tls_cert, given.tls_key),
        parent_fd=given.parent_fd,
        dispatcher=given.dispatcher,
        dispatches=given.dispatches,
    )


def tls_of(address: str | None, certificate: Path | None, key: Path | None) -> Tls | None:
    """Raises ``UserError`` for an address without files, or one that is none."""
    if not address:
        return None
    if certificate is None or key is None:
        raise UserError("--tls needs --tls-cert and --tls-key.")
    host, _, port = address.rpartition(":")
    if not port.isdigit() or not host:
        raise UserError(f"--tls: {address!r} is no HOST:PORT, as in 0.0.0.0:7443.")
    return Tls(host=host.strip("[]"), port=int(port), certificate=certificate, key=key)
