"""Training through crashes with real torch: what is restored is what was saved, bit for bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ampacity.training.launch import AGENT

pytest.importorskip("torch", reason="torch is missing: pip install 'ampacity[train]'")

DDP = """
import os, sys, torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from ampacity import train
dist.init_process_group("gloo")
torch.manual_seed(dist.get_rank())
torch.set_num_threads(1)
model = torch.nn.Linear(8, 1)
with torch.no_grad():
    for parameter in model.parameters():
        parameter.fill_(0.5)
ddp = DistributedDataParallel(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
state = {"model": ddp, "optimizer": optimizer, "note": "none"}
start = train.restore(state) or 0
print("from", start, state["note"], flush=True)
for step in range(start + 1, 13):
    loss = (ddp(torch.rand(4, 8)) ** 2).mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    train.report(step=step, loss=loss.item())
    if step % 3 == 0:
        state["note"] = f"at {step}"
        train.checkpoint(state, step=step)
    if step == 8 and train.incarnation() == 0 and dist.get_rank() == 1 and os.environ.get("CRASH"):
        os.kill(os.getpid(), 9)
if dist.get_rank() == 0:
    torch.save(model.state_dict(), sys.argv[1])
dist.destroy_process_group()
"""


def run_gang(folder: Path, script: str, *arguments: str, crash: bool = False, checkpoints: Path | None = None) -> str:
    """Two ranks under an agent; what they printed."""
    folder.mkdir()
    (folder / "script.py").write_text(script)
    config = {
        "format": 1,
        "command": " ".join([sys.executable, str(folder / "script.py"), *arguments]),
        "nnodes": 1,
        "node_rank": 0,
        "ranks_per_node": 2,
        "rendezvous": str(folder / "rendezvous"),
        "master_addr": "127.0.0.1",
        "max_restarts": 1,
        "grace_s": 5.0,
        "checkpoint_dir": str(checkpoints or folder / "checkpoints"),
        "checkpoint_every_s": None,
    }
    (folder / "agent.json").write_text(json.dumps(config))
    env = {
        **os.environ,
        "AMPACITY_MEMBER": "w.0.1-0",
        "AMPACITY_MEMBER_DIR": str(folder),
        "AMPACITY_FACTS": str(folder / "facts.jsonl"),
        "CRASH": "1" if crash else "",
    }
    done = subprocess.run(
        [sys.executable, "-I", str(AGENT), str(folder / "agent.json")], env=env, check=False, timeout=120
    )
    printed = (folder / "output.log").read_text()
    assert done.returncode == 0, printed
    return printed


def test_a_run_that_was_killed_ends_with_the_very_weights_of_one_that_was_not(tmp_path: Path) -> None:
    import torch

    whole, broken = tmp_path / "whole.pt", tmp_path / "broken.pt"
    run_gang(tmp_path / "whole", DDP, str(whole))
    printed = run_gang(tmp_path / "broken", DDP, str(broken), crash=True)
    assert "from 0 none" in printed
    assert "from 6 at 6" in printed
    assert "rank 1 was ended by SIGKILL" in printed
    expected, found = torch.load(whole), torch.load(broken)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


FSDP = """
import sys, torch, torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from ampacity import train
dist.init_process_group("gloo")
torch.manual_seed(0)
torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
fully_shard(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
state = {"model": model, "optimizer": optimizer}
start = train.restore(state) or 0
for step in range(start + 1, int(sys.argv[1]) + 1):
    generator = torch.Generator().manual_seed(step)
    loss = (model(torch.rand(4, 8, generator=generator)) ** 2).mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    print("loss", step, loss.item(), flush=True)
train.checkpoint(state, step=int(sys.argv[1]))
dist.destroy_process_group()
"""


def losses(printed: str) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for line in printed.splitlines():
        words = line.split()
        if "loss" in words:
            found.setdefault(int(words[-2]), set()).add(words[-1])
    return found


def test_a_sharded_model_is_saved_and_restored(tmp_path: Path) -> None:
    whole = losses(run_gang(tmp_path / "whole", FSDP, "6"))
    checkpoints = tmp_path / "shared"
    run_gang(tmp_path / "first", FSDP, "3", checkpoints=checkpoints)
    rest = losses(run_gang(tmp_path / "rest", FSDP, "6", checkpoints=checkpoints))
    assert sorted(rest) == [4, 5, 6]
    assert rest == {step: whole[step] for step in (4, 5, 6)}


PLAIN = """
import os, torch, torch.distributed as dist
dist.init_process_group(backend="gloo")
value = torch.ones(1) * (dist.get_rank() + 1)
dist.all_reduce(value)
print("sum", int(value.item()), "of", os.environ["WORLD_SIZE"], flush=True)
dist.destroy_process_group()
"""


def test_a_script_written_for_another_launcher_runs_unchanged(tmp_path: Path) -> None:
    assert run_gang(tmp_path / "gang", PLAIN).count("sum 3 of 2") == 2


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from ampacity import train

    monkeypatch.setenv("AMPACITY_CHECKPOINT_DIR", str(tmp_path))
    monkeypatch.delenv("AMPACITY_MEMBER_DIR", raising=False)
    model = torch.nn.Linear(2, 2)
    for step in (1, 2):
        torch.nn.init.constant_(model.weight, float(step))
        train.checkpoint({"model": model}, step=step)
    for path in (tmp_path / "step-00000002").glob("*.distcp"):
        path.write_bytes(b"damaged")
    assert train.restore({"model": model}) == 1
    assert model.weight[0, 0].item() == 1.0
    assert f"the checkpoint {tmp_path / 'step-00000002'} cannot be read" in capsys.readouterr().err
    for path in (tmp_path / "step-00000001").glob("*.distcp"):
        path.unlink()
    with pytest.raises(train.CheckpointError, match="none of the checkpoints"):
        train.restore({"model": model})


def test_without_a_folder_saving_says_so_and_restoring_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from ampacity import train

    monkeypatch.delenv("AMPACITY_CHECKPOINT_DIR", raising=False)
    assert train.restore({}) is None
    with pytest.raises(train.CheckpointError, match="AMPACITY_CHECKPOINT_DIR is not set"):
        train.checkpoint({}, step=1)
