"""What is kept of an answer, so that it can be given a second time."""

from __future__ import annotations

import msgspec

from ampacity.control.plane import Asked
from ampacity.model.codec import encode
from ampacity.model.errors import KeyReused
from ampacity.model.receipt import Receipt

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


def submit_receipt(asked: Asked, submitted: Submitted, at: float) -> Receipt:
    """What is written with the workloads of a submission: its whole answer."""
    kept = answer_to_keep(Answer(content=encode(submitted), status=201))
    return Receipt(key=asked.key, digest=asked.digest, answer=kept, at=at)


def _refuse_another(receipt: Receipt, asked: Asked) -> None:
    if receipt.digest != asked.digest:
        raise key_reused()


def key_reused() -> KeyReused:
    return KeyReused(
        f"This {KEY_HEADER} was used for something else before.", hint="Make a new key for every new request."
    )
