"""The hub: versions, tags, verified reads, and refusals."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ampacity.hub import Hub
from ampacity.hub.code_revision import code_revision
from ampacity.hub.version import Lineage
from ampacity.model.errors import CorruptBlob, HubError, InvalidSpec, NotFound


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path / "hub")


def model(folder: Path, text: str = "weights", **more: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "notes.txt").write_text(text)
    for name, content in more.items():
        (folder / name.replace("__", "/")).parent.mkdir(parents=True, exist_ok=True)
        (folder / name.replace("__", "/")).write_text(content)
    return folder


def safetensors(path: Path, header: object, tail: bytes = b"") -> None:
    data = json.dumps(header).encode()
    path.write_bytes(len(data).to_bytes(8, "little") + data + tail)


def test_versions_count_up_and_latest_moves(hub: Hub, tmp_path: Path) -> None:
    first = hub.add("m", model(tmp_path / "a", "one"), tags=["good"], created_at=1.0)
    second = hub.add("m", model(tmp_path / "a", "two"), created_at=2.0)
    assert (first.ref, second.ref) == ("m:1", "m:2")
    assert hub.get("m") == hub.get("m:latest") == hub.get("m:2") == second
    assert hub.get("m:good").version == 1
    assert [version.version for version in hub.list("m")] == [2, 1]
    assert [version.ref for version in hub.list()] == ["m:2"]
    assert second.tags == ("latest",)


def test_the_same_content_is_the_same_version(hub: Hub, tmp_path: Path) -> None:
    first = hub.add("m", model(tmp_path / "a"), created_at=1.0)
    again = hub.add("m", model(tmp_path / "b"), tags=["again"], created_at=2.0)
    assert again.version == first.version
    assert set(again.tags) == {"latest", "again"}
    assert hub.add("other", tmp_path / "a", created_at=3.0).digest == first.digest


def test_blobs_are_kept_once_and_go_when_nobody_needs_them(hub: Hub, tmp_path: Path) -> None:
    hub.add("a", model(tmp_path / "x", "shared", own="1"), created_at=1.0)
    hub.add("b", model(tmp_path / "y", "shared", own="2"), created_at=1.0)
    assert len(blobs(tmp_path)) == 3
    hub.remove("a")
    assert len(blobs(tmp_path)) == 2
    hub.verify("b")
    hub.remove("b:1")
    assert blobs(tmp_path) == []
    with pytest.raises(NotFound):
        hub.get("a")


def blobs(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "hub" / "blobs" / "sha256").glob("*/*"))


def test_a_removed_versions_number_is_not_given_again(hub: Hub, tmp_path: Path) -> None:
    hub.add("m", model(tmp_path / "a", "one"), created_at=1.0)
    hub.add("m", model(tmp_path / "a", "two"), created_at=1.0)
    hub.remove("m:2")
    assert hub.get("m").version == 1, "latest falls back to what is left"
    assert hub.add("m", model(tmp_path / "a", "three"), created_at=1.0).version == 3


def test_lineage_weights_and_architecture_are_kept(hub: Hub, tmp_path: Path) -> None:
    folder = model(tmp_path / "a", config_json="")
    (folder / "config_json").rename(folder / "config.json")
    (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    tensors = {
        "__metadata__": {"format": "pt"},
        "w": tensor("F32", [3, 4], 0, 48),
        "b": tensor("BF16", [5], 48, 58),
        "s": tensor("F32", [], 60, 64),
    }
    safetensors(folder / "model.safetensors", tensors, bytes(64))
    lineage = Lineage(run="w1", step=7, data=("d@sha256:1",))
    found = hub.add("m", folder, lineage=lineage, created_at=5.0)
    assert (found.weights.parameters, found.weights.tensors) == (18, 3)
    assert found.weights.dtypes == {"BF16": 5, "F32": 13}
    assert found.architecture == "LlamaForCausalLM"
    assert hub.get("m").lineage == lineage


def tensor(dtype: str, shape: list[int], begin: int = 0, end: int = 0) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    "content",
    [b"", b"\x01", b"\xff" * 16, (10).to_bytes(8, "little") + b"not json!!", (2).to_bytes(8, "little") + b"[]"],
)
def test_a_broken_safetensors_header_is_refused(hub: Hub, tmp_path: Path, content: bytes) -> None:
    folder = model(tmp_path / "a")
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(HubError, match=r"model.safetensors is not a safetensors file"):
        hub.add("m", folder, created_at=1.0)
    assert hub.list() == ()


@pytest.mark.parametrize(
    "about",
    [
        {"dtype": "F32"},
        tensor("F32", [-1], 0, 4),
        tensor("F32", [1], 4, 0),
        tensor("F32", [1], -4, 0),
        tensor("F32", [2], 0, 4),
        {"dtype": "F32", "shape": [1], "data_offsets": [0]},
        {"dtype": "F32", "shape": ["1"], "data_offsets": [0, 4]},
        7,
    ],
)
def test_a_tensor_that_is_described_wrongly_is_named(hub: Hub, tmp_path: Path, about: object) -> None:
    folder = model(tmp_path / "a")
    safetensors(folder / "model.safetensors", {"w": about}, bytes(8))
    with pytest.raises(HubError, match="the tensor 'w' is described wrongly"):
        hub.add("m", folder, created_at=1.0)


def test_a_file_that_is_cut_short_is_refused(hub: Hub, tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is missing: pip install 'ampacity[train]'")
    safe = pytest.importorskip("safetensors.numpy", reason="safetensors is missing: pip install 'ampacity[train]'")

    folder = model(tmp_path / "a")
    path = folder / "model.safetensors"
    safe.save_file({"w": numpy.zeros((4, 4), "f4"), "flags": numpy.zeros(3, bool)}, path)
    assert hub.add("m", folder, created_at=1.0).weights.dtypes == {"BOOL": 3, "F32": 16}
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(HubError) as caught:
        hub.add("m", folder, created_at=1.0)
    assert "model.safetensors is cut short: the tensor" in caught.value.message
    assert caught.value.hint == "Copy or download it again."


def test_one_file_and_folders_in_folders(hub: Hub, tmp_path: Path) -> None:
    folder = model(tmp_path / "a", deep__er__file="x")
    assert [file.path for file in hub.add("m", folder, created_at=1.0).files] == ["deep/er/file", "notes.txt"]
    single = hub.add("one", folder / "notes.txt", created_at=1.0)
    assert [file.path for file in single.files] == ["notes.txt"]
    place = hub.materialize("m")
    assert (place / "deep/er/file").read_text() == "x"
    assert hub.materialize("m:1") == place


def test_export_verifies_what_it_writes(hub: Hub, tmp_path: Path) -> None:
    hub.add("m", model(tmp_path / "a"), created_at=1.0)
    hub.export("m", tmp_path / "out")
    assert (tmp_path / "out" / "notes.txt").read_text() == "weights"
    with pytest.raises(InvalidSpec, match=r"notes.txt is there already"):
        hub.export("m", tmp_path / "out")


def damage(tmp_path: Path) -> tuple[str, str]:
    """Change one byte of the only blob; the digest that it should have, and the one that it has."""
    path = blobs(tmp_path)[0]
    path.chmod(0o644)
    path.write_text("weightz")
    import hashlib

    return f"sha256:{path.name}", f"sha256:{hashlib.sha256(b'weightz').hexdigest()}"


def test_a_corrupt_blob_is_named_on_every_read(hub: Hub, tmp_path: Path) -> None:
    hub.add("m", model(tmp_path / "a"), created_at=1.0)
    expected, found = damage(tmp_path)
    for read in (lambda: hub.verify("m"), lambda: hub.materialize("m"), lambda: hub.export("m", tmp_path / "out")):
        with pytest.raises(CorruptBlob) as caught:
            read()
        assert caught.value.message == f"m:1, notes.txt: expected {expected}, found {found}."
        assert caught.value.hint == "Remove the version and add it again from its source."
    assert list((tmp_path / "out").rglob("*")) == []


def test_a_blob_that_is_gone_is_named(hub: Hub, tmp_path: Path) -> None:
    hub.add("m", model(tmp_path / "a"), created_at=1.0)
    blobs(tmp_path)[0].unlink()
    with pytest.raises(CorruptBlob, match=r"m:1, notes.txt"):
        hub.verify("m")
    with pytest.raises(CorruptBlob, match=r"m:1, notes.txt"):
        hub.export("m", tmp_path / "out")


def test_adding_again_mends_a_damaged_blob(hub: Hub, tmp_path: Path) -> None:
    hub.add("m", model(tmp_path / "a"), created_at=1.0)
    damage(tmp_path)
    hub.remove("m")
    hub.add("m", tmp_path / "a", created_at=1.0)
    hub.verify("m")


@pytest.mark.parametrize("name", ["", "A", "../x", "a/b", "a:b", "-a", "a..b", "x" * 200])
def test_a_bad_name_is_refused(hub: Hub, tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidSpec):
        hub.add(name, model(tmp_path / "a"), created_at=1.0)


@pytest.mark.parametrize("tag", ["", "3", "a b", "a/b"])
def test_a_bad_tag_is_refused(hub: Hub, tmp_path: Path, tag: str) -> None:
    with pytest.raises(InvalidSpec):
        hub.add("m", model(tmp_path / "a"), tags=[tag], created_at=1.0)
    assert hub.list() == ()


def test_what_is_not_there_is_said_with_near_names(hub: Hub, tmp_path: Path) -> None:
    hub.add("tiny-llama", model(tmp_path / "a"), tags=["good"], created_at=1.0)
    with pytest.raises(NotFound) as caught:
        hub.get("tiny-lama")
    assert str(caught.value) == "There is no model 'tiny-lama'. Did you mean tiny-llama?"
    with pytest.raises(NotFound) as caught:
        hub.get("tiny-llama:9")
    assert str(caught.value) == "There is no tiny-llama:9. tiny-llama has the versions 1 and the tags good, latest."


def test_sources_that_cannot_be_taken(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    secret = tmp_path / "secret"
    secret.write_text("x")
    folder = model(tmp_path / "a")
    (folder / "link").symlink_to(secret)
    for source, message in (
        (tmp_path / "no", "is not there"),
        (tmp_path / "empty", "holds no file"),
        (folder, "leads out"),
    ):
        with pytest.raises(InvalidSpec, match=message):
            hub.add("m", source, created_at=1.0)


def test_the_code_revision_is_the_commit(tmp_path: Path) -> None:
    import subprocess

    assert code_revision(tmp_path) == ""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "x").write_text("1")
    subprocess.run([*git, "add", "x"], check=True)
    subprocess.run([*git, "commit", "-qm", "first"], check=True)
    clean = code_revision(tmp_path)
    assert clean.startswith("git:")
    assert len(clean) == len("git:") + 40
    (tmp_path / "x").write_text("2")
    assert code_revision(tmp_path) == clean + "+changes"


def test_a_version_whose_tag_was_not_moved_any_more_is_found(hub: Hub, tmp_path: Path) -> None:
    hub.add("m", model(tmp_path / "a"), created_at=1.0)
    (tmp_path / "hub" / "models" / "m" / "tags.json").unlink()
    assert hub.get("m").ref == "m:1"


def test_a_whole_blob_is_not_written_anew(hub: Hub, tmp_path: Path) -> None:
    hub.add("m", model(tmp_path / "a"), created_at=1.0)
    place = hub.materialize("m")
    hub.add("m", tmp_path / "a", created_at=2.0)
    assert (place / "notes.txt").samefile(blobs(tmp_path)[0])


def test_adding_again_mends_a_blob_in_place(hub: Hub, tmp_path: Path) -> None:
    hub.add("m", model(tmp_path / "a"), created_at=1.0)
    damage(tmp_path)
    hub.add("m", tmp_path / "a", created_at=1.0)
    hub.verify("m")


def test_many_threads_may_ask_for_the_same_folder(hub: Hub, tmp_path: Path) -> None:
    hub.add("m", model(tmp_path / "a", **{f"part{number}": "x" * number for number in range(20)}), created_at=1.0)
    with ThreadPoolExecutor(8) as pool:
        places = set(pool.map(lambda _: hub.materialize("m"), range(16)))
    (place,) = places
    assert len(list(place.iterdir())) == 21
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_a_folder_that_cannot_be_written_is_said(hub: Hub, tmp_path: Path) -> None:
    hub.add("m", model(tmp_path / "a"), created_at=1.0)
    (tmp_path / "file").write_text("")
    with pytest.raises(HubError) as caught:
        hub.export("m", tmp_path / "file" / "out")
    assert (
        caught.value.message == f"m:1, notes.txt cannot be written to {tmp_path}/file/out/notes.txt: Not a directory."
    )


def test_near_names_are_of_models_that_are_there(hub: Hub, tmp_path: Path) -> None:
    hub.add("writer", model(tmp_path / "a"), created_at=1.0)
    hub.remove("writer")
    with pytest.raises(NotFound) as caught:
        hub.get("write")
    assert caught.value.hint == "`ampacity models list` shows what there is."


def test_tags_that_cannot_be_read_are_named(hub: Hub, tmp_path: Path) -> None:
    hub.add("m", model(tmp_path / "a"), created_at=1.0)
    (tmp_path / "hub" / "models" / "m" / "tags.json").write_text("{")
    with pytest.raises(HubError, match=r"tags.json cannot be read"):
        hub.get("m")
