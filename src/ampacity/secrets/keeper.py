"""``Secrets``: set, list, remove, reveal to a launch, and exchange the key."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from difflib import get_close_matches
from pathlib import Path

from ampacity.model.errors import InvalidSpec, NotFound, SecretsUnreadable, Where
from ampacity.model.ids import Project

from .sealing import KeyFile, Keys, key_id
from .secret import Secret, check_name, check_value
from .shelf import FileShelf, Held, Sealed, Shelf


class Secrets:
    """The secrets of a state folder. Safe to use from several threads. Values are not kept in memory."""

    def __init__(self, shelf: Shelf, key_file: KeyFile, clock: Callable[[], float]) -> None:
        self._shelf, self._key_file, self._clock = shelf, key_file, clock
        self._lock = threading.Lock()

    def list(self, project: Project | None = None) -> tuple[Secret, ...]:
        """Those of a project (``None``: of all), by project and name."""
        with self._lock:
            held = self._shelf.read()
        return tuple(held[key].secret for key in sorted(held) if project in (None, key[0]))

    def put(self, project: Project, name: str, value: bytes, *, by: str) -> Secret:
        """Set it, anew or for the first time. What runs keeps the value that it was started with.

        Raises:
            InvalidSpec: the name or the value cannot be.
            SecretsUnreadable: there is a key, and it cannot be used.
            StoreError: it cannot be written.
        """
        secret = Secret(project=project, name=check_name(name), changed_at=self._clock(), by=by)
        check_value(value)
        with self._lock:
            keys = self._key_file.read_or_make()
            sealed = Sealed(secret=secret, value=keys.seal(project, name, value))
            self._shelf.change(lambda held: {**held, (project, name): sealed})
        return secret

    def remove(self, project: Project, name: str) -> Secret:
        """Raises ``NotFound``."""
        with self._lock:
            held = self._shelf.read()
            if (project, name) not in held:
                raise NotFound(_missing(name, project), hint=_near(name, held, project))
            gone = held[project, name].secret
            self._shelf.change(lambda held: {key: each for key, each in held.items() if key != (project, name)})
        return gone

    def refuse_unknown(self, project: Project, names: Collection[str]) -> None:
        """Raises ``InvalidSpec`` when one of them is not there."""
        if not names:
            return
        with self._lock:
            held = self._shelf.read()
        for name in names:
            if (project, name) not in held:
                raise InvalidSpec(_missing(name, project), where=Where(key="secrets"), hint=_near(name, held, project))

    def reveal(self, project: Project, names: Collection[str]) -> dict[str, bytes]:
        """Their values. Raises ``NotFound``, ``SecretsUnreadable``."""
        if not names:
            return {}
        with self._lock:
            held, keys = self._shelf.read(), self._key_file.read()
        found = {}
        for name in names:
            if (project, name) not in held:
                raise NotFound(_missing(name, project), hint=_near(name, held, project))
            found[name] = keys.open(project, name, held[project, name].value)
        return found

    def rotate_key(self) -> int:
        """Seal all with a new key and forget the old ones; answers how many were sealed anew.

        A kill in between harms nothing: the key file has the new key first and loses the old ones last.

        Raises:
            SecretsUnreadable: one cannot be opened. Nothing was changed.
        """
        with self._lock:
            before = self._key_file.read()
            for each in self._shelf.read().values():
                before.open(each.secret.project, each.secret.name, each.value)
            keys = before.with_new_key()
            self._key_file.write(keys)
            count = 0

            def reseal(held: Held) -> Held:
                nonlocal count
                count = len(held)
                return {key: _resealed(each, keys) for key, each in held.items()}

            self._shelf.change(reseal)
            self._key_file.write(keys.only_current())
            self._key_file.forget_old()
        return count

    def problem(self) -> str:
        """Why some of them cannot be opened, in words; empty = all can."""
        try:
            with self._lock:
                held = self._shelf.read()
                keys = self._key_file.read() if held else Keys()
                for each in held.values():
                    keys.open(each.secret.project, each.secret.name, each.value)
        except SecretsUnreadable as error:
            return str(error)
        return ""


def open_secrets(folder: Path, clock: Callable[[], float]) -> Secrets:
    """Those of a state folder."""
    return Secrets(FileShelf(folder / "secrets.json"), KeyFile(folder / "secret.key"), clock)


def _resealed(sealed: Sealed, keys: Keys) -> Sealed:
    secret = sealed.secret
    if key_id(sealed.value) == keys.current:
        return sealed
    value = keys.open(secret.project, secret.name, sealed.value)
    return Sealed(secret=secret, value=keys.seal(secret.project, secret.name, value))


def _missing(name: str, project: Project) -> str:
    return f"There is no secret {name!r} in the project {project!r}."


def _near(name: str, held: Held, project: Project) -> str:
    names = sorted(known for where, known in held if where == project)
    near = get_close_matches(name.upper(), {known.upper(): known for known in names}, n=3)
    meant = [known for known in names if known.upper() in near]
    if meant:
        return f"Did you mean {' or '.join(meant)}?"
    return f"`ampacity secrets set {name}` sets it."
