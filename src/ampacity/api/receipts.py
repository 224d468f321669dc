"""What is kept of an answer, so that it can be given a second time."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ampacity.control.plane import Asked, Plane
from ampacity.control.receipts import Receipt
from ampacity.model.codec import decode, encode
from ampacity.model.errors import KeyReused
from ampacity.model.view import WorkloadView

from .answers import Submitted
from .endpoint import Answer
from .wire import KEY_HEADER


class _Kept(msgspec.Struct, frozen=True):
    status: int
    content: msgspec.Raw


def answer_to_keep(answer: Answer) -> bytes:
    return msgspec.json.encode(_Kept(status=answer.status, content=msgspec.Raw(answer.content)))


def answer_of(receipt: Receipt, asked: Asked) -> Answer:
    """The answer that was given before. Raises ``KeyReused`` when it was given to another request."""
    _refuse_another(receipt, asked)
    kept = msgspec.json.decode(receipt.answer, type=_Kept)
    return Answer(content=bytes(kept.content), status=kept.status, replayed=True)


class SubmitReceipt:
    """The receipt of one workload of a submission, made when its view is known and written with it.

    The last one of a file tells the whole answer, under the request's own key; each before it tells its own view, so
    that a repeat goes on where the first was cut.

    Args:
        before: the views of the workloads before it in the same file.
        last: it is the file's last one.
    """

    def __init__(self, plane: Plane, asked: Asked, before: Sequence[WorkloadView], *, last: bool) -> None:
        self._plane, self._before, self._last = plane, before, last
        self._asked = asked if last else Asked(key=f"{asked.key} {len(before)}", digest=asked.digest)

    def known(self) -> WorkloadView | None:
        """What was submitted when this was asked before. Raises ``KeyReused``."""
        receipt = None if self._last else self._plane.receipt(self._asked.key)
        if receipt is None:
            return None
        _refuse_another(receipt, self._asked)
        return decode(receipt.answer, WorkloadView)

    def __call__(self, view: WorkloadView, at: float) -> Receipt:
        content = encode(Submitted(workloads=(*self._before, view))) if self._last else encode(view)
        kept = answer_to_keep(Answer(content=content, status=201)) if self._last else content
        return Receipt(key=self._asked.key, digest=self._asked.digest, answer=kept, at=at)


def _refuse_another(receipt: Receipt, asked: Asked) -> None:
    if receipt.digest != asked.digest:
        raise key_reused()


def key_reused() -> KeyReused:
    return KeyReused(
        f"This {KEY_HEADER} was used for something else before.", hint="Make a new key for every new request."
    )
