"""What the gateway answers itself: its health and the models that it serves."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson

from ampacity.model.access import ApiKey
from ampacity.serving.admission.access import may_use

from .answers import JSON, Header, Refusal
from .heads import RequestHead

if TYPE_CHECKING:
    from .core import Core


def local_answer(head: RequestHead, core: Core, *, near: Callable[[], bool]) -> tuple[int, tuple[Header, ...], bytes]:
    """Status, headers and body; raises ``Refusal``. ``near``: whether the client is on this machine."""
    if head.path == b"/health":
        return 200, (JSON,), b'{"status":"ok","table":%d}' % core.tables.table.version
    if head.path == b"/v1/models" and head.method == b"GET":
        return 200, (JSON,), _models(core, core.who(head))
    if head.path == b"/metrics" and core.board is not None and near():
        return 200, ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),), core.board.text().encode()
    if head.path.startswith(b"/v1/"):
        raise Refusal(405, f"{head.method.decode(errors='replace')} is not answered here; POST is.")
    shown = head.path.decode(errors="replace")
    raise Refusal(404, f"There is nothing at {shown}. The API is under /v1, as in /v1/chat/completions.")


def _models(core: Core, who: ApiKey | None) -> bytes:
    names = dict.fromkeys([*(route.name for route in core.tables.table.models), *core.tables.public])
    data = [
        {"id": name, "object": "model", "created": 0, "owned_by": "ampacity"} for name in names if may_use(who, name)
    ]
    return orjson.dumps({"object": "list", "data": data})
