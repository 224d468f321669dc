"""Secrets on the whole platform: jobs have them; nothing else that is written or shown does."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from ampacity.model.errors import InvalidSpec
from ampacity.model.workload import WorkloadPhase
from whole_platform import Platform, eventually

VALUE = "hf_7Qx-value-of-the-test"
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBg-line-one\nkqhkiG9w0BAQ-line-two\n-----END KEY-----\n"


def places_with(folder: Path, *texts: str) -> list[str]:
    """Every file below the folder that has one of the texts in it, in clear or in base64, and every command line."""
    import base64

    needles = [text.encode() for text in texts] + [base64.b64encode(text.encode())[:-4] for text in texts]
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and any(needle in path.read_bytes() for needle in needles):
            found.append(str(path))
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline()).encode()
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(needle in command for needle in needles):
            found.append(f"{process.pid}: {command!r}")
    return found


JOB = """name: {name}
type: {kind}
secrets: {{envs: [HF_TOKEN], files: [TLS_KEY]}}
run: |
  test "$HF_TOKEN" = "$(cat {wanted}/token)" && cmp "$TLS_KEY_FILE" {wanted}/pem && echo both are right
  stat -c '%a %U' "$TLS_KEY_FILE"; echo "path $TLS_KEY_FILE"
  echo "printed: <$HF_TOKEN> and"; cat "$TLS_KEY_FILE"; echo "to stderr $HF_TOKEN" >&2
  while [ ! -e {go} ]; do sleep 0.05; done
  exit 3
"""


def test_jobs_have_their_secrets_and_nothing_shows_them(platform: Platform, tmp_path: Path) -> None:
    wanted = tmp_path / "wanted"  # outside of what is searched
    wanted.mkdir()
    (wanted / "token").write_text(VALUE)
    (wanted / "pem").write_text(PEM)
    platform.up("n1:cpus=4,memory=4GB")
    assert platform.ampacity("secrets", "set", "HF_TOKEN", stdin=f"{VALUE}\n").code == 0
    assert platform.ampacity("secrets", "set", "TLS_KEY", "--from-file", str(wanted / "pem")).code == 0
    assert [each["name"] for each in platform.json("secrets")["secrets"]] == ["HF_TOKEN", "TLS_KEY"]
    assert VALUE not in platform.ampacity("secrets", "ls").out
    go = tmp_path / "go"
    for name, kind in (("task", "task"), ("gang", "train")):
        path = platform.file(f"{name}.yaml", JOB.format(name=name, kind=kind, wanted=wanted, go=go))
        assert platform.ampacity("apply", path.name).code == 0
        eventually(lambda name=name: "stderr" in platform.ampacity("logs", name).out, f"the output of {name}")  # type: ignore[misc]
    files = []
    for name in ("task", "gang"):
        out = platform.ampacity("logs", name).out
        assert "both are right" in out
        assert "600 " in out
        assert "printed: <***> and" in out
        assert "to stderr ***" in out
        assert "line-one" not in out
        files.append(Path(out.partition("path ")[2].split()[0]))
        assert files[-1].read_text() == PEM
    shown = [platform.ampacity(*verb, "--json").out for verb in (("ps",), ("events",), ("why", "task"))]
    assert not [text for text in shown if VALUE in text or "line-one" in text]
    assert places_with(platform.state_dir, VALUE, "MIIEvQIBADANBg-line-one") == []
    assert platform.ampacity("secrets", "rotate-key").code == 0
    go.touch()
    for name, path in zip(("task", "gang"), files, strict=True):
        view = platform.client.wait(name, timeout_s=120)
        assert view.workload.phase is WorkloadPhase.FAILED
        cause = view.attempts[-1].cause
        assert cause is not None
        assert VALUE not in repr(cause)
        assert not path.exists()
        assert not path.parent.exists()
    assert places_with(platform.state_dir, VALUE, "MIIEvQIBADANBg-line-one") == []
    check = f'test "$HF_TOKEN" = "$(cat {wanted}/token)"'
    assert platform.ampacity("run", "--secret", "HF_TOKEN", "--", check).code == 0


def test_an_unknown_secret_is_refused_and_a_removed_one_fails_the_start(platform: Platform, tmp_path: Path) -> None:
    platform.up("n1:cpus=1,memory=1GB")
    platform.client.set_secret("HF_TOKEN", VALUE)
    refused = platform.ampacity("run", "--secret", "HF_TOKN", "--", "true")
    assert refused.code == 2
    assert "Did you mean HF_TOKEN?" in refused.err
    with pytest.raises(InvalidSpec, match="no secret 'NONE'"):
        platform.client.submit("name: a\nrun: 'true'\nsecrets: {files: [NONE]}\n")
    go = tmp_path / "go"
    platform.client.submit(f"name: first\nrun: 'while [ ! -e {go} ]; do sleep 0.05; done'\n")
    platform.client.submit("name: second\nrun: 'true'\nsecrets: [HF_TOKEN]\nafter: [first]\n")
    platform.client.remove_secret("HF_TOKEN")
    go.touch()
    view = platform.client.wait("second", timeout_s=120)
    assert view.workload.phase is WorkloadPhase.FAILED
    cause = view.attempts[-1].cause
    assert cause is not None
    assert "no secret 'HF_TOKEN'" in cause.message


def test_a_damaged_key_is_said_to_all_who_need_it_and_harms_nothing(platform: Platform) -> None:
    platform.up("n1:cpus=1,memory=1GB")
    platform.client.set_secret("HF_TOKEN", VALUE)
    path = platform.state_dir / "secret.key"
    key = path.read_bytes()
    path.write_bytes(b"")
    for command in (("set", "OTHER"), ("rotate-key",)):
        refused = platform.ampacity("secrets", *command, stdin="x\n")
        assert refused.code == 1
        assert f"{path} is empty." in " ".join(refused.err.split())
        assert "from a copy" in refused.err
    platform.client.submit("name: needs-it\nrun: 'true'\nsecrets: [HF_TOKEN]\n")
    view = platform.client.wait("needs-it", timeout_s=120)
    cause = view.attempts[-1].cause
    assert cause is not None
    assert f"{path} is empty." in cause.message
    platform.client.submit("name: needs-none\nrun: 'true'\n")
    assert platform.client.wait("needs-none", timeout_s=120).workload.phase is WorkloadPhase.SUCCEEDED
    assert platform.ampacity("down").code == 0
    platform.up("n1:cpus=1,memory=1GB")
    assert f"not all secrets can be opened: {path} is empty." in (platform.state_dir / "control.log").read_text()
    path.write_bytes(key)
    platform.client.submit(f"name: has-it\nrun: 'test $HF_TOKEN = {VALUE}'\nsecrets: [HF_TOKEN]\n")
    assert platform.client.wait("has-it", timeout_s=120).workload.phase is WorkloadPhase.SUCCEEDED


def test_a_killed_supervisor_leaves_no_secret_file(platform: Platform) -> None:
    platform.up("n1:cpus=1,memory=1GB")
    platform.client.set_secret("TLS_KEY", PEM)
    platform.client.submit("name: a\nrun: 'echo \"path $TLS_KEY_FILE\"; sleep 600'\nsecrets: {files: [TLS_KEY]}\n")
    eventually(lambda: "path /" in platform.ampacity("logs", "a").out, "the path of its file")
    path = Path(platform.ampacity("logs", "a").out.partition("path ")[2].split()[0])
    assert path.read_text() == PEM
    platform.supervisor_of("a").kill()
    platform.client.wait("a", timeout_s=120)
    assert not path.parent.exists()
