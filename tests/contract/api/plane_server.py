"""A server over a plane, on sockets of its own, and what a control plane leaves in its state folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ampacity import __version__
from ampacity.api.authorize import token_digest
from ampacity.api.server import RunningServer, serve
from ampacity.control.plane import Plane

TOKEN = "a-token-of-the-test"
METRICS_TOKEN = "a-token-for-metrics"


def write_control_json(folder: Path, *, socket: str = "", api_url: str = "", pid: int | None = None) -> None:
    """What a control plane leaves in its state folder."""
    fields = {"pid": os.getpid() if pid is None else pid, "started_at": 1.0, "version": __version__}
    text = json.dumps({**fields, "socket": socket, "api_url": api_url, "gateway_url": ""})
    (folder / "control.json.new").write_text(text)
    (folder / "control.json.new").rename(folder / "control.json")


@contextmanager
def serving(plane: Plane, folder: Path | None = None, *, port: int = 0) -> Iterator[RunningServer]:
    """A server on sockets in a folder whose path is short enough for them."""
    made = Path(tempfile.mkdtemp(prefix="amp-")) if folder is None else folder
    path = str(made / "api.sock")
    tokens = {"token_sha256": token_digest(TOKEN), "metrics_token_sha256": token_digest(METRICS_TOKEN)}
    running = serve(plane, socket_path=path, host="127.0.0.1", port=port, **tokens)
    try:
        yield running
    finally:
        stopped = running.stop()
        if folder is None:
            shutil.rmtree(made)
    assert stopped
