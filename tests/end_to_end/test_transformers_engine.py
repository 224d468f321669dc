"""A real engine on the whole platform: a model is added, served, asked; and one that cannot be loaded says why."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from whole_platform import Platform, eventually

pytest.importorskip("transformers", reason="transformers is missing: pip install 'ampacity[serve]'")

TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"


def tiny_model(folder: Path) -> Path:
    """A Llama of random weights over a tokenizer of bytes, in Hugging Face's format."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(["a b c"], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=128,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_a_model_is_added_served_and_asked(platform: Platform) -> None:
    folder = tiny_model(platform.work / "tiny")
    broken = tiny_model(platform.work / "broken")
    (broken / "config.json").write_text('{"architectures": ["NoSuchModel"], "model_type": "no_such_type"}')
    platform.up("n1:cpus=4,memory=8GB")
    for name, path in (("tiny", folder), ("broken", broken)):
        done = platform.ampacity("models", "add", name, str(path))
        assert done.code == 0, done.err
    assert platform.client.model("tiny").architecture == "LlamaForCausalLM"
    assert platform.ampacity("serve", "broken", "--name", "bad").code == 0
    done = platform.ampacity("serve", "tiny", "--name", "good", "--wait", limit_s=150)
    assert done.code == 0, done.err

    client = openai.OpenAI(base_url=platform.client.status().gateway_url + "/v1", api_key="none", max_retries=0)
    assert {model.id for model in client.models.list()} == {"tiny", "broken"}
    whole = client.completions.create(model="tiny", prompt="a b", max_tokens=5, temperature=0.0)
    assert whole.model.startswith("tiny"), "the model's name, and no path of the server"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 5
    stream = client.completions.create(model="tiny", prompt="a b", max_tokens=5, temperature=0.0, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream if chunk.choices) == whole.choices[0].text
    chat = client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "a"}], max_tokens=4)
    assert chat.choices[0].finish_reason in ("length", "stop")

    eventually(lambda: "no_such_type" in platform.ampacity("why", "bad").out, "the engine's own last lines in `why`")
    done = platform.ampacity("models", "rm", "tiny")
    assert done.code == 2
    assert "is served by good" in done.err
