"""The address of a store, as people give it. Light: ``up`` asks before it has loaded anything."""

from __future__ import annotations

from urllib.parse import urlsplit

from .failure import Usage


def without_password(store: str) -> str:
    """The address as it may be kept and shown: the next start finds the same store, and asks for the password anew."""
    parts = urlsplit(store)
    if parts.password is None:
        return store
    name, _, place = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{name.partition(':')[0]}@{place}").geturl()


def checked_store(store: str | None) -> str | None:
    """Whatever stands on a command line can be read by every user of the machine. Raises ``Usage``."""
    if store and without_password(store) != store:
        raise Usage("--store: leave the password out; give it by ~/.pgpass, by PGPASSWORD, or all by AMPACITY_STORE.")
    return store
