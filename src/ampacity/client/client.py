"""``Client``: the control plane's use cases as methods, with the same nouns that the control plane works with."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import TracebackType

from ampacity.api.answers import Done
from ampacity.model.ids import DEFAULT_PROJECT, Project
from ampacity.model.view import Status

from .inside_calls import InsideCalls
from .key_calls import KeyCalls
from .link import Link
from .locate import Endpoint, from_environment, locate
from .model_calls import ModelCalls
from .node_calls import NodeCalls
from .output_calls import OutputCalls
from .queue_calls import QueueCalls
from .route_calls import RouteCalls
from .secret_calls import SecretCalls
from .topology_calls import TopologyCalls
from .workload_calls import WorkloadCalls


class Client(
    OutputCalls,
    WorkloadCalls,
    InsideCalls,
    NodeCalls,
    TopologyCalls,
    QueueCalls,
    RouteCalls,
    ModelCalls,
    SecretCalls,
    KeyCalls,
):
    """Talks to one control plane. Safe to use from several threads; a context manager.

    Without arguments it is the one that ``AMPACITY_URL`` (with ``AMPACITY_TOKEN``) names, else the one whose state
    folder is ``$AMPACITY_HOME`` or ``~/.ampacity``. Nothing is opened before the first call.

    Args:
        state_dir: the state folder of a control plane on this machine.
        url: its address, such as ``http://127.0.0.1:7077``; with the ``token``.
        token: the bearer token.
        project: the project that names belong to.
        timeout_s: how long a call may take.
        on_other_release: told the control plane's version when its minor release is another than this one's.
        reconnect_s: how long ``wait``, ``logs`` and ``events`` go on asking when the control plane is gone.

    Every method raises ``NotRunning`` when nobody answers, ``Unauthorized`` and ``Forbidden`` when it may not ask, and
    ``NotFound`` for a name that is not there; all but ``status`` and ``shutdown`` raise ``VersionMismatch`` when the
    control plane is of another major release. ``ref`` is a workload's id or its name: the live one, else the newest.
    """

    def __init__(
        self,
        state_dir: str | os.PathLike[str] | None = None,
        *,
        url: str | None = None,
        token: str | None = None,
        project: str = DEFAULT_PROJECT,
        timeout_s: float = 60.0,
        reconnect_s: float = 15.0,
        on_other_release: Callable[[str], None] = lambda version: None,
    ) -> None:
        self.project = Project(project)
        self._reconnect_s = reconnect_s

        def find() -> Endpoint:
            if url is not None:
                return Endpoint(url=url.rstrip("/"), token=token or "")
            return from_environment() if state_dir is None else locate(state_dir)

        self._link = Link(find, timeout_s=timeout_s, on_other_release=on_other_release)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._link.close()

    @property
    def server_version(self) -> str:
        """The release that the control plane runs; empty before the first answer."""
        return self._link.server_version

    def status(self) -> Status:
        """How the control plane is and where it listens."""
        return self._link.call("GET", "/status", Status)

    def shutdown(self, *, workloads: bool = False) -> None:
        """Ask it to end. What runs, runs on, unless ``workloads`` says to stop it first. Returns before it is gone."""
        self._link.call("POST", "/shutdown", Done, body={"workloads": workloads})
