"""Who is asking: API keys, looked up by the bytes that clients send."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from ampacity.model.access import ApiKey

from .verdict import Refused

KNOWN_LIMIT = 10_000
"""How many different headers are remembered; then they are forgotten and hashed anew."""

_HOW = "Send it as 'Authorization: Bearer KEY'."
NO_KEY = Refused(status=401, code="invalid_api_key", message=f"This endpoint asks for an API key. {_HOW}")
WRONG_KEY = Refused(status=401, code="invalid_api_key", message="This API key is not known, or was revoked.")
EXPIRED_KEY = Refused(status=401, code="invalid_api_key", message="This API key has expired.")


class Doorkeeper:
    """Knows the keys by their digests, and those that were seen by the header that carried them, so that a known client
    costs one look into a dictionary."""

    def __init__(self) -> None:
        self.closed = False
        self._keys: dict[str, ApiKey] = {}
        self._known: dict[bytes, ApiKey] = {}

    def set_keys(self, keys: Iterable[ApiKey], *, closed: bool) -> None:
        """From now on these are all keys. ``closed``: nobody is let in without one."""
        self._keys = {key.digest: key for key in keys}
        self._known.clear()
        self.closed = closed

    def who(self, authorization: bytes | None, now: float) -> ApiKey | Refused | None:
        """The key that was shown; ``None`` = nobody in particular, at an endpoint that asks for none.

        Args:
            authorization: the header's value.
            now: seconds since the epoch.
        """
        if not self.closed:
            return None
        if authorization is None:
            return NO_KEY
        key = self._known.get(authorization)
        if key is None:
            key = self._look_up(authorization)
            if key is None:
                return WRONG_KEY
        if key.expires_at is not None and now >= key.expires_at:
            return EXPIRED_KEY
        return key

    def _look_up(self, authorization: bytes) -> ApiKey | None:
        scheme, _, secret = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        key = self._keys.get(hashlib.sha256(secret.strip()).hexdigest())
        if key is not None:
            if len(self._known) >= KNOWN_LIMIT:
                self._known.clear()
            self._known[authorization] = key
        return key


def may_use(key: ApiKey | None, model: str) -> bool:
    """Whether the key opens the model."""
    return key is None or not key.models or model in key.models


def model_refused(key: ApiKey, model: str) -> Refused:
    """The answer to a key that does not open the model."""
    opens = ", ".join(sorted(key.models)[:10])
    message = f"The key {key.name!r} does not open the model {model!r}. It opens: {opens}."
    return Refused(status=403, code="model_not_allowed", message=message)
