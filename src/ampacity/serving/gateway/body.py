"""What the gateway reads of a request's body: the model, whether to stream, and where the prompt is. The rest passes
through as it came."""

from __future__ import annotations

import msgspec

from .answers import Refusal

NOTHING = msgspec.Raw()


class Asked(msgspec.Struct, frozen=True, gc=False):
    """The fields that matter here; ``Raw`` ones are the value's own bytes, unread."""

    model: str
    stream_: msgspec.Raw = msgspec.field(default=NOTHING, name="stream")
    messages: msgspec.Raw = NOTHING
    prompt: msgspec.Raw = NOTHING

    @property
    def stream(self) -> bool:
        return bytes(self.stream_) == b"true"

    @property
    def prompt_bytes(self) -> int:
        return len(self.messages) + len(self.prompt)


_asked = msgspec.json.Decoder(Asked)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_body(body: bytes) -> Asked:
    """Raises ``Refusal`` (400) for what is no JSON object with a ``model``."""
    try:
        return _asked.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _what_is_wrong(body, error) from error


def _what_is_wrong(body: bytes, error: Exception) -> Refusal:
    try:
        fields = _fields.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as worse:
        return Refusal(400, f"The body is not a JSON object: {worse}.")
    if "model" not in fields:
        return Refusal(400, "The body names no 'model'.")
    return Refusal(400, f"The body's 'model' is not a string: {error}.")


def with_model(body: bytes, asked: Asked, upstream: str) -> bytes:
    """The body as the engine wants it: with its own name for the model."""
    if asked.model == upstream:
        return body
    return msgspec.json.encode({**_fields.decode(body), "model": upstream})
