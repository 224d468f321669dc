"""Volumes on a whole platform: a job goes to the node that has its data, finds it where it asked, and says why."""

from __future__ import annotations

from pathlib import Path

from whole_platform import Platform, eventually


def test_a_job_finds_its_data_where_it_asked_and_nobody_else_does(platform: Platform, tmp_path: Path) -> None:
    corpus, target = tmp_path / "store" / "corpus", tmp_path / "data"
    corpus.mkdir(parents=True)
    (corpus / "part-0").write_text("tokens\n")
    platform.up("n1:cpus=4,memory=2GB", "n2:cpus=2,memory=2GB", "n3:cpus=1,memory=2GB")
    text = f"storage:\n  corpus: {{path: {corpus}, nodes: 'n[1-2]', near: n1, read_only: true}}\n"
    (platform.work / "site.yaml").write_text(text)
    said = platform.ampacity("apply", "site.yaml")
    assert said.out == f"topology changed: volume corpus comes: {corpus} on 2 nodes, near 1 node, read only\n"

    script = f"cat {target}/part-0; touch {target}/new || echo read only; ls"
    mounts = ("-v", f"corpus:{target}", "-v", f"{platform.work}:{tmp_path}/work")
    ran = platform.ampacity("run", "--name", "reader", *mounts, "--", script + f"; touch {tmp_path}/work/written")
    assert (ran.code, ran.out.splitlines()[:2]) == (0, ["tokens", "read only"])
    assert (platform.work / "written").exists()
    assert list(target.iterdir()) == []
    story = platform.ampacity("why", "reader").out
    assert "placed on n1" in story
    assert "; near corpus" in story

    go = tmp_path / "go"
    hold = f"echo up; while [ ! -e {go} ]; do sleep 0.05; done"
    platform.ampacity("run", "-d", "--name", "held", "-v", f"corpus:{target}", "--", hold)
    eventually(lambda: "up" in platform.ampacity("logs", "held").out, "the job's start")
    inside = platform.ampacity("exec", "held", "--", "cat", f"{target}/part-0")
    assert (inside.code, inside.out) == (0, "tokens\n")
    assert [each["mounted_by"] for each in platform.json("volumes")["volumes"]] == [["held"]]
    platform.ampacity("run", "-d", "--name", "wide", "--nodes", "3", "-v", f"corpus:{target}", "--", "true")
    told = platform.ampacity("why", "wide").out
    assert "needs 3 nodes with the volume corpus; only n1 and n2 have it." in told
    go.touch()

    missing = platform.ampacity("run", "-v", f"{tmp_path}/gone:{target}", "--", "true")
    assert missing.code != 0
    assert f"the folder {tmp_path}/gone, which it mounts at {target}, does not exist on this node" in missing.err
    unknown = platform.ampacity("run", "-v", f"corpse:{target}", "--", "true")
    assert (unknown.code, "Did you mean corpus?" in unknown.err) == (2, True)
