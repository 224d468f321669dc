"""What users get wrong: one clear message, the right exit code, and nothing lost."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from whole_platform import Platform, eventually, platform_in

BAD_UNIT = (
    "error: bad.yaml:3: resources.memory: '4gigs': unit 'gigs' is not known; did you mean GB?\n"
    " hint: The units are B, KB, MB, GB, TB, PB, KiB, MiB, GiB, TiB, PiB.\n"
)
NOT_BUILT = "error: bad.yaml:3: image: is not supported yet.\n hint: Leave it out.\n"
CONTRADICTION = (
    "error: bad.yaml:3: replicas: goes with 'type: service' only; this is a task.\n"
    " hint: Leave it out, or write 'type: service'.\n"
)
NO_RUN = "error: bad.yaml:1: run: is missing: there is nothing to run.\n hint: Add a line 'run: <command>'.\n"
EMPTY = (
    "error: bad.yaml: there is no workload in it.\n hint: Write keys, such as 'name: hello' and 'run: echo hello'.\n"
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platform_in(tmp_path_factory.mktemp("platform")) as found:
        found.up("n1:cpus=2,memory=4GB")
        yield found


def known(platform: Platform) -> set[str]:
    return {view.workload.id for view in platform.client.workloads(all=True)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: a\nrun: 'true'\nresorces: {cpus: 1}\n",
            "error: bad.yaml:3: resorces: is not a key that is known here.\n hint: Did you mean resources?\n",
        ),
        ("name: a\nrun: 'true'\nresources: {memory: 4gigs}\n", BAD_UNIT),
        ("name: a\nrun: 'true'\nimage: x\n", NOT_BUILT),
        ("name: a\nrun: 'true'\nreplicas: 2\n", CONTRADICTION),
        ("name: a\n", NO_RUN),
        ("", EMPTY),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(running: Platform, text: str, message: str) -> None:
    before = known(running)
    running.file("bad.yaml", text)
    done = running.ampacity("apply", "bad.yaml")
    assert (done.code, done.err) == (2, message)
    assert known(running) == before


def test_of_several_workloads_none_is_submitted_when_one_is_wrong(running: Platform) -> None:
    before = known(running)
    running.file("two.yaml", "name: good\nrun: 'true'\n---\nname: bad\nrunn: 'true'\n")
    done = running.ampacity("apply", "two.yaml")
    assert done.code == 2
    assert "two.yaml:5: runn: is not a key that is known here." in done.err
    assert "Did you mean run?" in done.err
    assert known(running) == before


def test_an_impossible_request_is_refused_at_once(running: Platform) -> None:
    done = running.ampacity("run", "--accelerators", "H100:8", "--", "true")
    assert done.code == 2
    assert "asks for 8 H100; the largest node has 0.\n hint: The nodes have no accelerators on n1.\n" in done.err


def test_a_missing_file(running: Platform) -> None:
    done = running.ampacity("apply", "nowhere.yaml")
    assert done.code == 2
    assert "nowhere.yaml" in done.err
    assert "No such file" in done.err


def test_a_name_that_is_taken(running: Platform) -> None:
    assert running.ampacity("run", "--name", "one", "--detach", "--", "sleep", "60").code == 0
    done = running.ampacity("run", "--name", "one", "--detach", "--", "true")
    assert done.code == 2
    assert "'one'" in done.err
    assert [view.workload.name for view in running.client.workloads()].count("one") == 1
    running.client.stop("one")


def test_a_port_in_use_is_named_at_once(platform: Platform) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = platform.ampacity("up", "--port", str(port))
    assert done.code == 2
    assert f"port {port}" in done.err.lower()
    assert "in use" in done.err
    eventually(lambda: platform.processes() == [], "the end of every process")


def test_a_workload_that_is_not_there(running: Platform) -> None:
    for verb in ("why", "stop", "logs"):
        done = running.ampacity(verb, "ghost")
        assert done.code == 2
        assert "ghost" in done.err


def test_without_a_control_plane_the_way_on_is_said(platform: Platform) -> None:
    done = platform.ampacity("ps")
    assert done.code == 2
    assert "ampacity up" in done.err


def test_a_corrupt_blob_is_found_on_read(running: Platform) -> None:
    folder = running.work / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "notes.txt").write_text("the weights")
    assert running.ampacity("models", "add", "m", str(folder)).code == 0
    digest = next(file.digest for file in running.client.model("m").files if file.path == "notes.txt")
    blob = next(path for path in (running.state_dir / "hub").rglob(digest.removeprefix("sha256:")))
    blob.chmod(0o644)
    blob.write_text("the weighty")
    done = running.ampacity("models", "get", "m", "--to", str(running.work / "out"))
    assert done.code != 0
    assert "notes.txt" in done.err
    assert "m:1" in done.err
    assert digest in done.err
    assert not (running.work / "out" / "notes.txt").exists()


def test_a_server_that_dies_says_why_in_its_own_words(running: Platform) -> None:
    script = running.file(
        "server.py", "import sys; print('no weights found in /models/x', file=sys.stderr); sys.exit(3)\n"
    )
    running.file("s.yaml", f"name: web\ntype: service\nrun: python3 {Path(script)}\n")
    assert running.ampacity("apply", "s.yaml").code == 0
    eventually(lambda: bool(running.client.workload("web").attempts), "an attempt")
    eventually(lambda: "no weights found" in running.ampacity("why", "web").out, "the last lines in `why`")
