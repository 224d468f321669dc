"""Writes that are asked for twice are done once: the ``Idempotency-Key`` of a request, and the answer that was given.

Source: the IETF draft "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-header).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from ampacity.control.plane import Asked
from ampacity.model.errors import BadRequest, Repeated, UserError, Where

from .authorize import Principal
from .endpoint import Answer
from .receipts import answer_of, answer_to_keep, key_reused
from .service import Service
from .wire import KEY_HEADER

_KEY = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True, slots=True)
class _UnderWay:
    asked: Asked
    answer: asyncio.Task[Answer]


def asked_of(request: Request, principal: Principal, content: bytes) -> Asked | None:
    """What the request calls itself, and what it is; ``None`` without a key. Each principal has keys of its own.

    Raises:
        BadRequest: the key is none.
    """
    given = request.headers.getlist(KEY_HEADER)
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        raise BadRequest(
            f"The header {KEY_HEADER} is not a key.",
            where=Where(key=KEY_HEADER),
            hint="Give one, of 1 to 200 visible ASCII characters, such as a UUID.",
        )
    query = "&".join(sorted(f"{name}={value}" for name, value in request.query_params.multi_items()))
    what = "\n".join((request.method, request.url.path, query)).encode()
    digest = hashlib.sha256(len(what).to_bytes(8) + what + content).hexdigest()
    return Asked(key=f"{principal.name}:{given[0]}", digest=digest)


class Repeats:
    """One per app. All methods belong to the server's event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._under_way: dict[str, _UnderWay] = {}

    async def once(self, asked: Asked, run: Callable[[], Answer], *, looked_up: bool = True) -> Answer:
        """The answer of ``run``, which is called in a thread, or the one that was given before.

        One that comes while the first is still under way waits for it. ``run`` is not cut off when the one who asked
        is gone: the repeat finds what came of it. A call that failed is tried anew.

        Args:
            looked_up: whether it is looked first if the answer is known. Not needed where ``run`` writes the receipt
                in its own transaction: that refuses to be written twice.

        Raises:
            KeyReused: something else was asked under the key.
            Exception: what ``run`` raises.
        """
        found = self._under_way.get(asked.key)
        if found is None:
            call = self._service.call(self._run, asked, run, looked_up)
            found = _UnderWay(asked, asyncio.create_task(call))
            self._under_way[asked.key] = found
            found.answer.add_done_callback(lambda _: self._under_way.pop(asked.key, None))
        elif found.asked != asked:
            raise key_reused()
        return await asyncio.shield(found.answer)

    def _run(self, asked: Asked, run: Callable[[], Answer], looked_up: bool) -> Answer:
        known = self._known(asked) if looked_up else None
        if known is not None:
            return known
        try:
            answer = run()
            if not answer.kept:
                self._service.plane.keep_receipt(asked, answer_to_keep(answer))
        except (Repeated, UserError):  # what it did the first time may be what is in its way now
            known = self._known(asked)
            if known is None:
                raise
            return known
        return answer

    def _known(self, asked: Asked) -> Answer | None:
        receipt = self._service.plane.receipt(asked.key)
        return None if receipt is None else answer_of(receipt, asked)
