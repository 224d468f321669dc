"""Make a data set from the source of Python's own standard library: a tokenizer, and the tokens of its files.

    python prepare_data.py OUT_DIR [--vocabulary 2048] [--megabytes 6]

Writes ``tokenizer/`` (Hugging Face format), ``train.bin`` and ``validation.bin`` (uint16 tokens) and ``data.json``
(counts, and a digest that names this very data). All is deterministic for one release of Python.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import sysconfig
import time
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END_OF_TEXT = "<|endoftext|>"
CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
SKIPPED = {
    "test",
    "tests",
    "site-packages",
    "idlelib",
    "lib2to3",
    "pydoc_data",
    "turtledemo",
    "encodings",
    "__pycache__",
}


def sources(budget_bytes: int) -> list[str]:
    """The text of the library's modules, by name, until the budget is spent."""
    root = Path(sysconfig.get_paths()["stdlib"])
    texts: list[str] = []
    spent = 0
    for path in sorted(root.rglob("*.py")):
        if SKIPPED.intersection(path.relative_to(root).parts):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        spent += len(text)
        if spent > budget_bytes:
            break
        texts.append(text)
    return texts


def train_tokenizer(texts: list[str], vocabulary: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "model_max_length": 1024,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--vocabulary", type=int, default=2048)
    parser.add_argument("--megabytes", type=float, default=6.0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    began = time.monotonic()
    texts = sources(int(options.megabytes * 1e6))
    print(
        f"read {len(texts)} modules of Python {sys.version.split()[0]}: {sum(map(len, texts)) / 1e6:.1f} MB", flush=True
    )
    tokenizer = train_tokenizer(texts, options.vocabulary)
    save_tokenizer(tokenizer, options.out / "tokenizer")
    print(f"trained a tokenizer of {tokenizer.get_vocab_size()} tokens in {time.monotonic() - began:.1f} s", flush=True)

    end = tokenizer.token_to_id(END_OF_TEXT)
    documents = [[*encoding.ids, end] for encoding in tokenizer.encode_batch(texts)]
    held_out = documents[::20]
    kept = [document for index, document in enumerate(documents) if index % 20]
    digest = hashlib.sha256()
    counts = {}
    for name, part in (("train", kept), ("validation", held_out)):
        tokens = np.concatenate([np.asarray(document, dtype=np.uint16) for document in part])
        tokens.tofile(options.out / f"{name}.bin")
        digest.update(tokens.tobytes())
        counts[name] = int(tokens.size)
    facts = {"digest": f"sha256:{digest.hexdigest()}", "tokens": counts, "vocabulary": tokenizer.get_vocab_size()}
    (options.out / "data.json").write_text(json.dumps(facts, indent=1))
    print(f"wrote {counts['train']:,} training and {counts['validation']:,} validation tokens", flush=True)


if __name__ == "__main__":
    main()
