"""Secrets at rest: sealed, bound to their names, found again, exchanged under a new key; and never in a message."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ampacity.model.errors import InvalidSpec, NotFound, SecretsUnreadable, StoreError
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
    with pytest.raises(SecretsUnreadable, match="which is not in"):
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


ID, KEY = "00" * 8, "A" * 43 + "="


def key_text(current: str, **keys: str) -> bytes:
    return json.dumps({"current": current, "keys": keys}).encode()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"\0" * 64, "is empty"),  # what a file system leaves of a file after a loss of power
        (b"\xff\xfegarbage", "does not hold keys"),
        (b'{"current": "\xff", "keys": {}}', "does not hold keys"),
        (b"[]", "does not hold keys"),
        (b'{"current": "00", "keys": {"00": "!"}}', "does not hold keys"),
        (key_text(ID), "does not hold whole keys"),
        (key_text(ID, **{"11" * 8: KEY}), "does not hold whole keys"),
        (key_text(ID, **{ID: "AAAA"}), "does not hold whole keys"),
        (key_text("00", **{"00": KEY}), "does not hold whole keys"),
        (key_text("zz" * 8, **{"zz" * 8: KEY}), "does not hold whole keys"),
    ],
)
def test_a_key_file_that_holds_none_is_said_and_changes_nothing(
    secrets: Secrets, tmp_path: Path, content: bytes, told: str
) -> None:
    secrets.put(P, "A", VALUE, by="me")
    path = tmp_path / "secret.key"
    good = path.read_bytes()
    path.write_bytes(content)
    before = contents(tmp_path)
    for call in (
        lambda: secrets.reveal(P, ["A"]),
        lambda: secrets.put(P, "B", VALUE, by="me"),
        lambda: secrets.put(P, "A", VALUE, by="me"),
        secrets.rotate_key,
    ):
        with pytest.raises(SecretsUnreadable) as refused:
            call()
        assert refused.value.message == f"{path} {told}."
        assert "from a copy" in refused.value.hint
        assert "set them again" in refused.value.hint
    assert refused.value.message in secrets.problem()
    assert contents(tmp_path) == before
    assert [each.name for each in secrets.list()] == ["A"]
    path.write_bytes(good)
    assert secrets.reveal(P, ["A"]) == {"A": VALUE}
    assert secrets.problem() == ""


def test_a_key_file_that_others_may_read_is_said_with_what_to_do(secrets: Secrets, tmp_path: Path) -> None:
    secrets.put(P, "A", VALUE, by="me")
    path = tmp_path / "secret.key"
    for mode in (0o644, 0o640, 0o602):
        path.chmod(mode)
        with pytest.raises(SecretsUnreadable, match="may be read by others") as refused:
            secrets.reveal(P, ["A"])
        assert f"(mode {mode:04o})" in refused.value.message
        assert f"chmod 600 {path}" in refused.value.hint
    path.chmod(0o600)
    assert secrets.reveal(P, ["A"]) == {"A": VALUE}


@pytest.mark.parametrize("name", ["secret.key", "secrets.json"])
def test_what_is_no_file_is_said(secrets: Secrets, tmp_path: Path, name: str) -> None:
    secrets.put(P, "A", VALUE, by="me")
    path = tmp_path / name
    path.rename(tmp_path / "away")
    path.mkdir()
    with pytest.raises(SecretsUnreadable, match="cannot be read: Is a directory") as refused:
        secrets.reveal(P, ["A"])
    assert str(path) in refused.value.message
    path.rmdir()
    path.symlink_to(path)
    with pytest.raises(SecretsUnreadable, match="cannot be read: Too many levels of symbolic links"):
        secrets.reveal(P, ["A"])
    path.unlink()
    (tmp_path / "away").rename(path)
    assert secrets.reveal(P, ["A"]) == {"A": VALUE}


def test_another_key_is_said_by_its_id_and_what_it_seals_is_not_lost_when_the_right_one_is_back(
    secrets: Secrets, tmp_path: Path
) -> None:
    secrets.put(P, "A", VALUE, by="me")
    path, old = tmp_path / "secret.key", tmp_path / "secret.key.old"
    right = path.read_bytes()
    path.write_bytes(key_text(ID, **{ID: KEY}))
    for call in (lambda: secrets.reveal(P, ["A"]), secrets.rotate_key):
        with pytest.raises(SecretsUnreadable) as refused:
            call()
        message, hint = refused.value.message, refused.value.hint
        assert message.startswith("The secret A of the project default was sealed with the key ")
        assert json.loads(right)["current"] in message
        assert message.endswith(f"which is not in {path} (there: {ID}).")
        assert str(old) in hint
        assert "ampacity secrets set A" in hint
    assert json.loads(path.read_bytes())["current"] == ID
    secrets.put(P, "B", b"sealed with the other one", by="me")
    both = {"A": VALUE, "B": b"sealed with the other one"}
    old.write_bytes(right)
    old.chmod(0o600)
    assert secrets.reveal(P, ["A", "B"]) == both
    assert secrets.rotate_key() == 2
    assert not old.exists()
    assert len(json.loads(path.read_bytes())["keys"]) == 1
    assert open_secrets(tmp_path, lambda: 9.0).reveal(P, ["A", "B"]) == both


def test_a_lost_key_file_is_said_and_no_other_is_made_but_to_seal(secrets: Secrets, tmp_path: Path) -> None:
    secrets.put(P, "A", VALUE, by="me")
    path = tmp_path / "secret.key"
    path.rename(tmp_path / "secret.key.away")
    for call in (lambda: secrets.reveal(P, ["A"]), secrets.rotate_key):
        with pytest.raises(SecretsUnreadable, match=r"which is not in .*secret\.key \(there: none\)"):
            call()
    assert not path.exists()
    secrets.put(P, "A", b"set again", by="me")
    assert secrets.reveal(P, ["A"]) == {"A": b"set again"}


def test_a_key_of_the_right_name_and_another_content_does_not_verify(secrets: Secrets, tmp_path: Path) -> None:
    secrets.put(P, "A", VALUE, by="me")
    path = tmp_path / "secret.key"
    ident = json.loads(path.read_bytes())["current"]
    path.write_bytes(key_text(ident, **{ident: KEY}))
    with pytest.raises(SecretsUnreadable, match="does not verify") as refused:
        secrets.reveal(P, ["A"])
    assert str(path) in refused.value.message


def test_an_old_key_file_that_is_not_whole_is_said_by_its_own_name(secrets: Secrets, tmp_path: Path) -> None:
    secrets.put(P, "A", VALUE, by="me")
    old = tmp_path / "secret.key.old"
    old.touch(0o600)
    with pytest.raises(SecretsUnreadable, match=r"secret\.key\.old is empty"):
        secrets.reveal(P, ["A"])


@pytest.mark.parametrize("first", [True, False], ids=["first", "another"])
def test_a_disk_without_room_is_said_and_loses_nothing(
    secrets: Secrets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if not first:
        secrets.put(P, "A", VALUE, by="me")
    before = contents(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for call in (lambda: secrets.put(P, "A", b"new", by="me"), secrets.rotate_key):
            with pytest.raises(StoreError, match="cannot be written: No space left on device") as refused:
                call()
            assert str(tmp_path) in refused.value.message
            assert "Nothing was changed" in refused.value.hint
    assert contents(tmp_path) == before
    secrets.put(P, "B", VALUE, by="me")
    assert secrets.reveal(P, ["B"]) == {"B": VALUE}


@pytest.mark.parametrize("content", ["{}", "", '{"format": 1, "secrets": [7]}', '{"format": "\udcff"}'])
def test_a_shelf_that_is_not_understood_is_said(secrets: Secrets, tmp_path: Path, content: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    for call in (secrets.list, lambda: secrets.put(P, "A", VALUE, by="me")):
        with pytest.raises(SecretsUnreadable, match="cannot be read") as refused:
            call()
        assert str(path) in refused.value.message
    assert path.read_bytes() == content.encode(errors="surrogateescape")


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
