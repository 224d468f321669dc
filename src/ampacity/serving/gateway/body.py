"""What the gateway reads of a request's body: the model, whether to stream, and where the prompt is. The rest passes
through as it came."""

from __future__ import annotations

from typing import Annotated

import msgspec

from .answers import Refusal

NOTHING = msgspec.Raw()
MOST_TIMEOUT_S = 1e9


class Asked(msgspec.Struct, frozen=True, gc=False):
    """The fields that matter here; ``Raw`` ones are the value's own bytes, unread. A number that makes no sense is
    ``None``: the engine will say what is wrong with it."""

    model: str
    stream: bool = False
    messages: msgspec.Raw = NOTHING
    prompt: msgspec.Raw = NOTHING
    max_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    max_completion_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    timeout: float | None = None

    @property
    def most_tokens(self) -> int | None:
        """The most tokens that the answer may have; ``None`` = not said."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


class _Odd(msgspec.Struct, frozen=True, gc=False):
    """The same of a body in which a field is not of the type that it should be."""

    model: str
    stream: msgspec.Raw = NOTHING
    messages: msgspec.Raw = NOTHING
    prompt: msgspec.Raw = NOTHING
    max_tokens: msgspec.Raw = NOTHING
    max_completion_tokens: msgspec.Raw = NOTHING
    timeout: msgspec.Raw = NOTHING

    def asked(self) -> Asked:
        """Raises ``Refusal`` (400)."""
        return Asked(
            self.model,
            bytes(self.stream) == b"true",
            self.messages,
            self.prompt,
            _count(self.max_tokens),
            _count(self.max_completion_tokens),
            timeout_of(bytes(self.timeout)) if self.timeout and bytes(self.timeout) != b"null" else None,
        )


def timeout_of(text: bytes) -> float:
    """Seconds, as a header or the body has them. Raises ``Refusal`` (400)."""
    seconds = _number(text)
    if seconds is None or not 0 < seconds < MOST_TIMEOUT_S:
        shown = text[:40].decode(errors="replace")
        raise Refusal(400, f"The timeout {shown} is no number of seconds. Write it as 30 or 0.5.")
    return seconds


def _count(raw: msgspec.Raw) -> int | None:
    number = _number(raw)
    return None if number is None or number < 0 else int(number)


def _number(raw: bytes | msgspec.Raw) -> float | None:
    try:
        return None if not raw else _float.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


_float = msgspec.json.Decoder(float)
_asked = msgspec.json.Decoder(Asked)
_odd = msgspec.json.Decoder(_Odd)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_body(body: bytes) -> Asked:
    """Raises ``Refusal`` (400) for what is no JSON object with a ``model``, in UTF-8, or whose ``timeout`` is none."""
    try:
        if not body.isascii():
            body.decode()  # values that are not read here are not checked below, and engines have to live with them
        asked = _asked.decode(body)
    except msgspec.ValidationError:
        return _odd_body(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _what_is_wrong(body, error) from error
    if asked.timeout is not None and not 0 < asked.timeout < MOST_TIMEOUT_S:
        return _odd_body(body)
    return asked


def _odd_body(body: bytes) -> Asked:
    try:
        return _odd.decode(body).asked()
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
        fields["max_tokens" if asked.max_completion_tokens is None else "max_completion_tokens"] = max_tokens
    return msgspec.json.encode(fields)
