"""The client's calls about secrets."""

from __future__ import annotations

from ampacity.api.answers import Rotated, SecretPage
from ampacity.secrets.secret import Secret

from .calls import Calls, path_of
from .link import Query


class SecretCalls(Calls):
    """Secrets of the project."""

    def secrets(self, *, project: str | None = None) -> tuple[Secret, ...]:
        """The project's secrets by name, without their values: nobody is told those."""
        query: Query = {"project": self._in(project)}
        found = self._link.call("GET", "/secrets", SecretPage, query=query)
        secrets = list(found.secrets)
        while found.next is not None:
            found = self._link.call("GET", "/secrets", SecretPage, query={**query, "next": found.next})
            secrets.extend(found.secrets)
        return tuple(secrets)

    def set_secret(self, name: str, value: str | bytes, *, project: str | None = None) -> Secret:
        """Set a secret, anew or for the first time. What runs keeps the value that it was started with.

        Raises:
            InvalidSpec: the name or the value cannot be.
        """
        body = {"value": value.encode() if isinstance(value, str) else value}
        return self._link.call("PUT", path_of("secrets", name), Secret, query={"project": self._in(project)}, body=body)

    def remove_secret(self, name: str, *, project: str | None = None) -> Secret:
        """Remove a secret. What runs keeps it."""
        return self._link.call("DELETE", path_of("secrets", name), Secret, query={"project": self._in(project)})

    def rotate_secret_key(self) -> int:
        """Seal all secrets, of all projects, with a new key; returns how many there are."""
        return self._link.call("POST", "/secret-key", Rotated, body={}).secrets
