"""Training through crashes with real torch: what is restored is what was saved, bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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
        "max_restarts": 3,  # a rank of torch's may abort once all is done, while the interpreter ends
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


def test_a_run_that_was_killed_ends_with_the_very_weights_of_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from ampacity import train

    whole, broken = tmp_path / "whole.pt", tmp_path / "broken.pt"
    run_gang(tmp_path / "whole", DDP, str(whole))
    printed = run_gang(tmp_path / "broken", DDP, str(broken), crash=True)
    assert "from 0 none" in printed
    assert "from 6 at 6" in printed
    assert "rank 1 was ended by SIGKILL" in printed
    expected, found = torch.load(whole), torch.load(broken)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    monkeypatch.setenv("AMPACITY_CHECKPOINT_DIR", str(tmp_path / "broken" / "checkpoints"))
    alone = torch.nn.Linear(8, 1)
    assert train.restore({"model": alone}) == 12, "one process reads what two ranks wrote"
    assert all(torch.equal(expected[name], tensor) for name, tensor in alone.state_dict().items())


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


TOGETHER = """
import os, sys, shutil, torch, torch.distributed as dist
from pathlib import Path
from ampacity import train
rank = int(os.environ["RANK"])
model = torch.nn.Linear(2, 2)
try:
    train.checkpoint({"model": model}, step=1)
except train.CheckpointError as error:
    print("early", str(error).split(":")[0], flush=True)
dist.init_process_group("gloo")
first = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
optimizer = torch.optim.AdamW([*first.parameters(), *model.parameters()])
state = {"first": first, "model": model, "optimizer": optimizer, "position": 100 + rank}
train.checkpoint(state, step=2)
root = Path(os.environ["AMPACITY_CHECKPOINT_DIR"])
dist.barrier()
if rank == 0:
    shard = sorted((root / "step-00000002").glob("__1_*"))[0]
    (root / "step-00000003").mkdir()
    for path in (root / "step-00000002").iterdir():
        content = path.read_bytes()
        (root / "step-00000003" / path.name).write_bytes(content[:-1] + b"!" if path.name == shard.name else content)
dist.barrier()
state["position"] = None
print("restored", train.restore(state), "position", state["position"] - rank, flush=True)
try:
    train.restore({"model": torch.nn.Linear(3, 3)})
except train.CheckpointError as error:
    print("unfit on", rank, flush=True)
dist.barrier()
if rank == 0:
    shutil.rmtree(root)
    root.write_text("no folder")
dist.barrier()
try:
    train.checkpoint(state, step=4)
except train.CheckpointError as error:
    print("refused", str(error).split(": ", 1)[1].split(":")[0], flush=True)
dist.destroy_process_group()
"""


def test_ranks_save_restore_and_fail_together(tmp_path: Path) -> None:
    printed = run_gang(tmp_path / "gang", TOGETHER)
    assert printed.count("early 2 ranks cannot save together") == 2, printed
    assert printed.count("restored 2 position 100") == 2, "each rank has its own plain values again"
    damaged = "step-00000003 cannot be read: the content of its file __1_0.distcp has changed"
    assert printed.count(damaged) == 2, "told once for each of the two restores, not by every rank"
    assert {f"unfit on {rank}" in printed for rank in (0, 1)} == {True}
    assert printed.count("refused File exists") == 2, printed


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the checkpoints of this one process."""
    monkeypatch.setenv("AMPACITY_CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    monkeypatch.delenv("AMPACITY_MEMBER_DIR", raising=False)
    return tmp_path / "checkpoints"


def filled(value: float) -> Any:
    import torch

    model = torch.nn.Linear(2, 2)
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, value)
    return model


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ampacity import train

    for step in (1, 2):
        train.checkpoint({"model": filled(step)}, step=step)
    (shard,) = (alone / "step-00000002").glob("*.distcp")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    model = filled(9)
    assert train.restore({"model": model}) == 1
    assert model.weight[0, 0].item() == 1.0
    reason = f"the content of its file {shard.name} has changed since it was written"
    assert capsys.readouterr().err == f"ampacity: the checkpoint {shard.parent} cannot be read: {reason}\n"
    for path in (alone / "step-00000001").glob("*.distcp"):
        path.unlink()
    with pytest.raises(train.CheckpointError, match="none of the checkpoints"):
        train.restore({"model": model})
    assert model.weight[0, 0].item() == 1.0, "nothing was loaded from damaged files"


def test_after_a_step_back_the_new_checkpoint_is_kept(alone: Path) -> None:
    from ampacity import train

    for step in (10, 20):
        train.checkpoint({"model": filled(step)}, step=step)
    (alone / "step-00000020" / "complete").write_text("damaged")
    assert train.restore({"model": filled(0)}) == 10
    train.checkpoint({"model": filled(15)}, step=15, keep=1)
    assert train.restore({"model": filled(0)}) == 15


def test_who_is_asked_to_save_has_a_checkpoint_due_until_it_has_saved(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ampacity import train

    member = tmp_path / "member"
    member.mkdir()
    monkeypatch.setenv("AMPACITY_MEMBER_DIR", str(member))
    monkeypatch.delenv("AMPACITY_CHECKPOINT_EVERY_S", raising=False)
    assert not train.checkpoint_due()
    (member / "save").touch()
    assert train.checkpoint_due()
    assert train.checkpoint_due(), "it is due until it was done"
    train.checkpoint({"model": filled(1)}, step=1)
    assert not train.checkpoint_due()
    monkeypatch.setenv("AMPACITY_CHECKPOINT_EVERY_S", "3600")
    assert not train.checkpoint_due()
    (member / "save").touch()
    assert train.checkpoint_due()


def test_state_that_has_grown_since_the_run_began_comes_back_whole(alone: Path) -> None:
    import torch

    from ampacity import train

    class Loader:
        def __init__(self) -> None:
            self.seen: dict[object, object] = {}

        def state_dict(self) -> dict[object, object]:
            return dict(self.seen)

        def load_state_dict(self, state: dict[object, object]) -> None:
            self.seen = dict(state)

    loader = Loader()
    loader.seen = {"files": ["a", "b"], 7: (1, torch.arange(3))}
    mean, counts = torch.full((2,), 3.0), {"good": {1: 2}, "mean": [torch.ones(2)]}
    train.checkpoint({"loader": loader, "mean": mean, "counts": counts, "nothing": None}, step=1)
    fresh, state = Loader(), {"mean": torch.zeros(2), "counts": {}, "nothing": 1}
    held = state["mean"]
    assert train.restore({**state, "loader": fresh}) == 1
    assert train.restore(state) == 1
    assert fresh.seen["files"] == ["a", "b"]
    number, tensor = fresh.seen[7]  # type: ignore[misc]
    assert (number, tensor.tolist()) == (1, [0, 1, 2])
    assert state["mean"] is held
    assert held.tolist() == [3.0, 3.0]  # type: ignore[attr-defined]
    assert state["counts"]["good"] == {1: 2}  # type: ignore[index]
    assert state["counts"]["mean"][0].tolist() == [1.0, 1.0]  # type: ignore[index]
    assert state["nothing"] is None


def test_random_generators_go_on_where_they_were(alone: Path) -> None:
    import random

    import numpy
    import torch

    from ampacity import train

    def draw() -> list[float]:
        return [random.random(), float(numpy.random.rand()), torch.rand(()).item()]

    train.checkpoint({}, step=1)
    expected = draw()
    draw()
    assert train.restore({}) == 1
    assert draw() == expected


@pytest.mark.parametrize(
    ("saved", "wanted", "reason"),
    [
        ({"note": 1}, {"ema": 1}, "it holds no 'ema'; it has: note"),
        ({"model": 2}, {"model": 3}, "none of the checkpoints"),
    ],
)
def test_a_state_that_does_not_fit_is_told(
    alone: Path, saved: dict[str, Any], wanted: dict[str, Any], reason: str
) -> None:
    import torch

    from ampacity import train

    def of(plain: dict[str, Any]) -> dict[str, Any]:
        return {name: torch.nn.Linear(value, 1) if name == "model" else value for name, value in plain.items()}

    train.checkpoint(of(saved), step=1)
    with pytest.raises(train.CheckpointError, match=reason):
        train.restore(of(wanted))


def test_what_cannot_be_saved_is_refused_and_leaves_nothing(alone: Path) -> None:
    import torch

    from ampacity import train

    train.checkpoint({"model": filled(1)}, step=1)
    stranger = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    for state, reason in (
        ({"call": lambda: None}, "the state holds something that cannot be saved"),
        ({"model": filled(1), "o": stranger}, "the optimizer 'o' steps 1 parameters of no module in the state"),
        ({"ampacity": 1}, "the name 'ampacity' is taken"),
    ):
        with pytest.raises(train.CheckpointError, match=reason):
            train.checkpoint(state, step=2)
    with pytest.raises(ValueError, match="keep has to be 1 or more"):
        train.checkpoint({}, step=2, keep=0)
    assert [path.name for path in alone.iterdir()] == ["step-00000001"]


def test_a_save_that_is_killed_at_any_time_is_never_restored(alone: Path) -> None:
    from ampacity import train
    from ampacity.training.rank import folders

    train.checkpoint({"model": filled(1)}, step=1)
    seen = 1
    for attempt in range(15):
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            for step in range(seen, seen + 1000):  # the first of them is saved anew
                train.checkpoint({"model": filled(step)}, step=step, keep=1 + attempt % 2)
            os._exit(0)
        if attempt == 14:  # the last of them gets as far as one more, however slow the machine is
            while folders.complete(alone)[0] <= seen and time.monotonic() < began + 60:
                time.sleep(0.001)
        time.sleep(max(0.0, began + random.Random(attempt).uniform(0.002, 0.08) - time.monotonic()))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        model = filled(0)
        found = train.restore({"model": model})
        assert found is not None
        assert found >= seen, "what was complete stays"
        assert {float(value) for parameter in model.parameters() for value in parameter.detach().flatten()} == {
            float(found)
        }
        assert not [path.name for path in alone.iterdir() if not path.name.startswith("step-")]
        seen = found
    assert seen > 1


def test_without_a_folder_saving_says_so_and_restoring_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from ampacity import train

    monkeypatch.delenv("AMPACITY_CHECKPOINT_DIR", raising=False)
    assert train.restore({}) is None
    with pytest.raises(train.CheckpointError, match="AMPACITY_CHECKPOINT_DIR is not set"):
        train.checkpoint({}, step=1)
