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
    max_tokens_: msgspec.Raw = msgspec.field(default=NOTHING, name="max_tokens")
    max_completion_tokens: msgspec.Raw = NOTHING
    timeout: msgspec.Raw = NOTHING

    @property
    def stream(self) -> bool:
        return bytes(self.stream_) == b"true"

    @property
    def prompt_bytes(self) -> int:
        return len(self.messages) + len(self.prompt)

    @property
    def max_tokens(self) -> int | None:
        """The most tokens that the answer may have; ``None`` = not said, or nothing that makes sense: the engine will
        say what is wrong with it."""
        most = _number(self.max_completion_tokens or self.max_tokens_)
        return None if most is None or most < 0 else int(most)

    @property
    def timeout_s(self) -> float | None:
        """How long the client waits for its answer. Raises ``Refusal`` (400)."""
        return None if not self.timeout else timeout_of(bytes(self.timeout))


def timeout_of(text: bytes) -> float:
    """Seconds, as a header or the body has them. Raises ``Refusal`` (400)."""
    seconds = _number(text)
    if seconds is None or not 0 < seconds < 1e9:
        shown = text[:40].decode(errors="replace")
        raise Refusal(400, f"The timeout {shown} is no number of seconds. Write it as 30 or 0.5.")
    return seconds


def _number(raw: bytes | msgspec.Raw) -> float | None:
    try:
        return None if not raw else _float.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


_float = msgspec.json.Decoder(float)
_asked = msgspec.json.Decoder(Asked)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_body(body: bytes) -> Asked:
    """Raises ``Refusal`` (400) for what is no JSON object with a ``model``, in UTF-8."""
    try:
        if not body.isascii():
            body.decode()  # values that are not read here are not checked below, and engines have to live with them
        return _asked.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _what_is_wrong(body, error) from error


def _what_is_wrong(body: bytes, error: Exception) -> Refusal:
    try:
        fields = _fields.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as worse:
        return Refusal(400, f"The body is not a JSON object: {worse}.")
    if isinstance(error, UnicodeDecodeError):
        return Refusal(400, f"The body is not UTF-8: {error}.")
    if "model" not in fields:
        return Refusal(400, "The body names no 'model'.")
    return Refusal(400, f"The body's 'model' is not a string: {error}.")


def with_model(body: bytes, asked: Asked, upstream: str) -> bytes:
    """The body as the engine wants it: with its own name for the model."""
    if asked.model == upstream:
        return body
    return msgspec.json.encode({**_fields.decode(body), "model": upstream})


def with_fields(body: bytes, asked: Asked, *, max_tokens: int | None) -> bytes:
    """The body without its ``timeout``, which is for the gateway, and with other ``max_tokens`` if they are given."""
    fields: dict[str, object] = dict(_fields.decode(body))
    fields.pop("timeout", None)
    if max_tokens is not None:
        fields["max_completion_tokens" if asked.max_completion_tokens else "max_tokens"] = max_tokens
    return msgspec.json.encode(fields)
