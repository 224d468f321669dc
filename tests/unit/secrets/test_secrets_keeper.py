"""Secrets at rest: sealed, bound to their names, found again, exchanged under a new key; and never in a message."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampacity.model.errors import InvalidSpec, NotFound, SecretsUnreadable
from ampacity.model.ids import Project
from ampacity.secrets.keeper import Secrets, open_secrets
from ampacity.secrets.sealing import KeyFile, Keys
from ampacity.secrets.shelf import FileShelf

P = Project("default")
VALUE = b"hf_very-secret-value"


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return open_secrets(tmp_path, lambda: 5.0)


def bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_what_was_set_is_revealed_and_nowhere_in_clear(secrets: Secrets, tmp_path: Path) -> None:
    told = secrets.put(P, "HF_TOKEN", VALUE, by="me")
    assert (told.name, told.changed_at, told.by) == ("HF_TOKEN", 5.0, "me")
    assert open_secrets(tmp_path, lambda: 6.0).reveal(P, ["HF_TOKEN"]) == {"HF_TOKEN": VALUE}
    assert VALUE not in bytes_in(tmp_path)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secrets.list() == secrets.list(P) == (told,)
    assert secrets.list(Project("other")) == ()
    secrets.put(P, "HF_TOKEN", b"another", by="you")
    assert secrets.reveal(P, ["HF_TOKEN"]) == {"HF_TOKEN": b"another"}
    assert secrets.remove(P, "HF_TOKEN").by == "you"
    with pytest.raises(NotFound):
        secrets.reveal(P, ["HF_TOKEN"])


def test_projects_do_not_see_each_others(secrets: Secrets) -> None:
    secrets.put(P, "A", b"1", by="me")
    secrets.put(Project("other"), "A", b"2", by="me")
    assert secrets.reveal(P, ["A"]) == {"A": b"1"}
    secrets.remove(P, "A")
    assert secrets.reveal(Project("other"), ["A"]) == {"A": b"2"}


@pytest.mark.parametrize("name", ["", "a b", "1A", "A-B", "A" * 129, "../x", "AMPACITY_X", "A\n"])
def test_a_name_that_cannot_be_a_variables_is_refused(secrets: Secrets, name: str) -> None:
    with pytest.raises(InvalidSpec, match="cannot be the name"):
        secrets.put(P, name, VALUE, by="me")


@pytest.mark.parametrize("value", [b"", b"s" * (65 << 10)])
def test_a_value_that_cannot_be_is_refused_and_not_repeated(secrets: Secrets, value: bytes) -> None:
    with pytest.raises(InvalidSpec) as refused:
        secrets.put(P, "A", value, by="me")
    assert "sss" not in str(refused.value)


def test_an_unknown_one_is_named_with_those_that_are_near(secrets: Secrets) -> None:
    secrets.put(P, "HF_TOKEN", VALUE, by="me")
    secrets.refuse_unknown(P, ["HF_TOKEN"])
    with pytest.raises(InvalidSpec, match="no secret 'hf_tokn'") as refused:
        secrets.refuse_unknown(P, ["hf_tokn"])
    assert refused.value.where.key == "secrets"
    assert refused.value.hint == "Did you mean HF_TOKEN?"
    with pytest.raises(InvalidSpec) as refused:
        secrets.refuse_unknown(P, ["WANDB"])
    assert "ampacity secrets set WANDB" in refused.value.hint


def test_a_new_key_opens_all_and_the_old_one_nothing(secrets: Secrets, tmp_path: Path) -> None:
    for index in range(3):
        secrets.put(P, f"S{index}", VALUE + bytes([index]), by="me")
    old_key, old_shelf = (tmp_path / "secret.key").read_bytes(), (tmp_path / "secrets.json").read_bytes()
    assert secrets.rotate_key() == 3
    assert secrets.reveal(P, ["S2"]) == {"S2": VALUE + b"\x02"}
    keys = json.loads((tmp_path / "secret.key").read_bytes())
    assert list(keys["keys"]) == [keys["current"]]
    assert keys["current"].encode() not in old_key
    (tmp_path / "secrets.json").write_bytes(old_shelf)
    with pytest.raises(SecretsUnreadable, match="a key that is not here"):
        secrets.reveal(P, ["S0"])


@pytest.mark.parametrize("point", [0, 1, 2])
def test_a_rotation_that_was_killed_loses_nothing(tmp_path: Path, point: int) -> None:
    """It is killed before the first, the second or the third of its three writes."""
    secrets = open_secrets(tmp_path, lambda: 5.0)
    secrets.put(P, "A", VALUE, by="me")
    written = 0

    class Killed(Exception):
        pass

    def count() -> None:
        nonlocal written
        if written == point:
            raise Killed
        written += 1

    class DyingKeys(KeyFile):
        def write(self, keys: Keys) -> None:
            count()
            super().write(keys)

    class DyingShelf(FileShelf):
        def change(self, change):  # type: ignore[no-untyped-def]
            count()
            super().change(change)

    dying = Secrets(DyingShelf(tmp_path / "secrets.json"), DyingKeys(tmp_path / "secret.key"), lambda: 6.0)
    with pytest.raises(Killed):
        dying.rotate_key()
    after = open_secrets(tmp_path, lambda: 7.0)
    assert after.reveal(P, ["A"]) == {"A": VALUE}
    assert after.rotate_key() == 1
    assert after.reveal(P, ["A"]) == {"A": VALUE}


def test_a_lost_key_and_one_that_others_may_read_are_said(secrets: Secrets, tmp_path: Path) -> None:
    secrets.put(P, "A", VALUE, by="me")
    os.chmod(tmp_path / "secret.key", 0o644)
    with pytest.raises(SecretsUnreadable, match="read by others"):
        secrets.reveal(P, ["A"])
    (tmp_path / "secret.key").unlink()
    with pytest.raises(SecretsUnreadable, match="key that is not here"):
        secrets.reveal(P, ["A"])
    (tmp_path / "secret.key").touch(0o600)
    with pytest.raises(SecretsUnreadable, match="cannot be read"):
        secrets.reveal(P, ["A"])
    (tmp_path / "secrets.json").write_text("{}")
    with pytest.raises(SecretsUnreadable, match="cannot be read"):
        secrets.list()


@given(
    value=st.binary(min_size=1, max_size=50),
    project=st.text(max_size=5),
    name=st.text(max_size=5),
    at=st.integers(0, 200),
    bit=st.integers(0, 7),
)
def test_what_was_changed_or_moved_does_not_open(value: bytes, project: str, name: str, at: int, bit: int) -> None:
    keys = Keys(current="", keys={}).with_new_key()
    sealed = keys.seal(project, name, value)
    assert keys.open(project, name, sealed) == value
    changed = bytearray(sealed)
    changed[at % len(sealed)] ^= 1 << bit
    for bad, where in ((bytes(changed), name), (sealed, name + "x"), (sealed[: at % len(sealed)], name)):
        with pytest.raises(SecretsUnreadable):
            keys.open(project, where, bad)
    assert "keys=" not in repr(keys)
