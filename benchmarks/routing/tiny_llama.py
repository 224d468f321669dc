"""A small Llama with a real prefix cache: what it has computed of a prompt before, it does not compute again."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

VOCABULARY = 4096
TOKEN_BYTES = 4
BLOCK_TOKENS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    layers: int = 6
    heads: int = 4
    width: int = 256
    inner: int = 704

    @property
    def head_width(self) -> int:
        return self.width // self.heads


def tokens_of(text: str) -> list[int]:
    """Four bytes a token: no tokenizer is needed, and a longer text begins with the tokens of its beginning."""
    data = text.encode()
    whole = range(0, len(data) - TOKEN_BYTES + 1, TOKEN_BYTES)
    return [zlib.crc32(data[at : at + TOKEN_BYTES]) % VOCABULARY for at in whole] or [0]


class Cache:
    """Keys and values of blocks, by the hash of the prompt up to and with the block; least recently used out first."""

    def __init__(self, most_blocks: int) -> None:
        self._most = most_blocks
        self._blocks: OrderedDict[int, torch.Tensor] = OrderedDict()

    def match(self, names: Sequence[int]) -> list[torch.Tensor]:
        found: list[torch.Tensor] = []
        for name in names:
            if name not in self._blocks:
                break
            self._blocks.move_to_end(name)
            found.append(self._blocks[name])
        return found

    def keep(self, name: int, block: torch.Tensor) -> None:
        self._blocks[name] = block
        self._blocks.move_to_end(name)
        if len(self._blocks) > self._most:
            self._blocks.popitem(last=False)

    def clear(self) -> None:
        self._blocks.clear()


class TinyLlama:
    """Shapes: L layers, H heads, T tokens, D width of a head, W width. ``kv_L2HTD`` holds keys and values."""

    def __init__(self, shape: Shape, cache: Cache, seed: int = 0) -> None:
        self._shape, self._cache = shape, cache
        draw = torch.Generator().manual_seed(seed)

        def weight(*size: int) -> torch.Tensor:
            return torch.randn(*size, generator=draw) / size[-1] ** 0.5

        wide, inner = shape.width, shape.inner
        self._embed = weight(VOCABULARY, wide)
        self._layers = [
            (weight(3 * wide, wide), weight(wide, wide), weight(2 * inner, wide), weight(wide, inner))
            for _ in range(shape.layers)
        ]
        self._turns = 10_000.0 ** (-torch.arange(0, shape.head_width, 2) / shape.head_width)

    @torch.inference_mode()
    def answer(self, prompt: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
        """The next tokens, each as (token, how many of the prompt's were cached); the first comes after the prefill."""
        names = [
            hash(tuple(prompt[: end + BLOCK_TOKENS])) for end in range(0, len(prompt) - BLOCK_TOKENS, BLOCK_TOKENS)
        ]
        found = self._cache.match(names)
        cached = len(found) * BLOCK_TOKENS
        shape = self._shape
        kv_L2HTD = torch.empty(shape.layers, 2, shape.heads, len(prompt) + most, shape.head_width)
        if found:
            kv_L2HTD[:, :, :, :cached] = torch.cat(found, dim=3)
        token = self._forward(prompt[cached:], cached, kv_L2HTD)
        for number in range(len(found), len(names)):
            start = number * BLOCK_TOKENS
            self._cache.keep(names[number], kv_L2HTD[:, :, :, start : start + BLOCK_TOKENS].clone())
        for at in range(len(prompt), len(prompt) + most):
            yield token, cached
            token = self._forward([token], at, kv_L2HTD)

    def _forward(self, tokens: Sequence[int], at: int, kv_L2HTD: torch.Tensor) -> int:
        """Compute these tokens, which come at that place; the likeliest next one."""
        shape, count = self._shape, len(tokens)
        x_TW = self._embed[torch.tensor(tokens)]
        places = torch.arange(at, at + count)
        angles = torch.outer(places, self._turns)
        mask = None if count == 1 else places[:, None] >= torch.arange(at + count)[None, :]
        for layer, (attend, out, up, down) in enumerate(self._layers):
            normed = rms_norm(x_TW, (shape.width,))
            q, k, v = (normed @ attend.T).view(count, 3, shape.heads, shape.head_width).permute(1, 2, 0, 3)
            kv_L2HTD[layer, 0, :, at : at + count] = _turned(k, angles)
            kv_L2HTD[layer, 1, :, at : at + count] = v
            keys, values = kv_L2HTD[layer, :, :, : at + count]
            mixed = scaled_dot_product_attention(_turned(q, angles)[None], keys[None], values[None], attn_mask=mask)
            x_TW = x_TW + mixed[0].transpose(0, 1).reshape(count, shape.width) @ out.T
            gate, rest = (rms_norm(x_TW, (shape.width,)) @ up.T).chunk(2, dim=-1)
            x_TW = x_TW + (silu(gate) * rest) @ down.T
        return int((rms_norm(x_TW[-1], (shape.width,)) @ self._embed.T).argmax())


def _turned(x_HTD: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Rotary positions (RoFormer, section 3.4)."""
    even, odd = x_HTD[..., ::2], x_HTD[..., 1::2]
    cos, sin = angles.cos(), angles.sin()
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)
