"""Train a small Llama-architecture language model by DDP, through whatever happens to its ranks.

    python train_lm.py DATA_DIR OUT_DIR --steps 700

An ordinary PyTorch script: it reads ``RANK`` and ``WORLD_SIZE`` as under any launcher. What Ampacity adds are three
calls: ``train.restore`` at the start, ``train.report`` each step, ``train.checkpoint`` now and then.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ampacity import train

HELD_OUT = 1 << 20
"""A rank that no job has: its windows are for validation."""


class Batches:
    """Random windows of the tokens. A batch depends on seed, step and rank alone, so it can be made again."""

    def __init__(self, path: Path, length: int, batch: int) -> None:
        self.tokens = np.memmap(path, dtype=np.uint16, mode="r")
        self.length, self.batch = length, batch

    def at(self, step: int, rank: int) -> torch.Tensor:
        """Token ids, shape (batch, length)."""
        random = np.random.default_rng((17, step, rank))
        starts = random.integers(0, len(self.tokens) - self.length, self.batch)
        rows = np.stack([self.tokens[start : start + self.length] for start in starts])
        return torch.from_numpy(rows.astype(np.int64))


def make_model(vocabulary: int, length: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=max(1024, length),
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config)


def rate_at(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over the first twentieth, then a cosine down to a tenth."""
    warm = max(1, steps // 20)
    if step <= warm:
        return peak * step / warm
    part = (step - warm) / max(1, steps - warm)
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * part)))


@torch.no_grad()
def validate(model: LlamaForCausalLM, batches: Batches, count: int) -> float:
    """Mean loss (nats per token) on held-out text, the same windows each time."""
    model.train(False)
    total = 0.0
    for index in range(count):
        rows = batches.at(index, rank=HELD_OUT)
        total += model(input_ids=rows, labels=rows).loss.item()
    model.train(True)
    return total / count


def save(model: LlamaForCausalLM, data: Path, out: Path, facts: dict[str, object]) -> None:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(data / "tokenizer")
    tokenizer.save_pretrained(out)
    model.generation_config.eos_token_id = 0
    model.generation_config.pad_token_id = 0
    model.save_pretrained(out, safe_serialization=True)
    (out / "training.json").write_text(json.dumps(facts, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--checkpoint-steps", type=int, default=25)
    options = parser.parse_args()

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    data = json.loads((options.data / "data.json").read_text())
    model = make_model(data["vocabulary"], options.length)
    ddp = DistributedDataParallel(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.rate, betas=(0.9, 0.95), weight_decay=0.1)
    done = train.restore({"model": model, "optimizer": optimizer}) or 0
    if rank == 0:
        size = sum(parameter.numel() for parameter in model.parameters())
        print(f"{size / 1e6:.1f} M parameters on {world} ranks, from step {done}", flush=True)

    batches = Batches(options.data / "train.bin", options.length, options.batch)
    tokens_per_step = options.batch * options.length * world
    for step in range(done + 1, options.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, options.steps, options.rate)
        rows = batches.at(step, rank)
        loss = ddp(input_ids=rows, labels=rows).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        mean = loss.detach().clone()
        dist.all_reduce(mean)
        train.report(step=step, loss=mean.item() / world, tokens=step * tokens_per_step)
        if rank == 0 and step % 20 == 0:
            print(f"step {step}/{options.steps}  loss {mean.item() / world:.3f}", flush=True)
        if step % options.checkpoint_steps == 0 or step == options.steps:
            train.checkpoint({"model": model, "optimizer": optimizer}, step=step)

    if rank == 0:
        final = validate(model, Batches(options.data / "validation.bin", options.length, 16), 8)
        facts = {"steps": options.steps, "validation_loss": final, "data": data["digest"], "world_size": world}
        save(model, options.data, options.out, facts)
        print(f"validation loss {final:.3f}; saved to {options.out}", flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
