"""Other families of decoders, loaded from what `transformers` saves and written back, with equal logits and texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM

from exnihilo.core.errors import ConfigError, Refused
from exnihilo.infer.generate import generate
from exnihilo.infer.sampling import Sampling
from exnihilo.model.adapter_folder import load_adapter, save_adapter
from exnihilo.model.adapters import adapters_of, add_lora, fold
from exnihilo.model.blocked import Matrices
from exnihilo.model.cache import KVCache
from exnihilo.model.config_json import read_config
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import load_model, save_model
from exnihilo.model.lora_config import LoraConfig
from exnihilo.tokenizer.bpe import train_tokenizer

LLAMA_3 = {
    "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
SHAPE = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 56, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 96,
}  # fmt: skip
GPT2 = {"vocab_size": 300, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 96}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3": ("Qwen3", {**SHAPE, "head_dim": 16}),
    "qwen2.5": ("Qwen2", {**SHAPE, "tie_word_embeddings": True, "rope_theta": 1e6, "sliding_window": 32}),
    "llama": ("Llama", {**SHAPE, "num_key_value_heads": 4}),
    "llama 3.2": ("Llama", {**SHAPE, "tie_word_embeddings": True, "rope_parameters": LLAMA_3}),
    "mistral": ("Mistral", {**SHAPE, "sliding_window": None}),
    "gpt2": ("GPT2", GPT2),
}


def theirs_of(family: str) -> Any:
    """A random model of `transformers`, every weight of which matters."""
    name, shape = FAMILIES[family]
    torch.manual_seed(5)
    config = getattr(transformers, f"{name}Config")(
        **shape, bos_token_id=0, eos_token_id=1, attn_implementation="eager"
    )
    model = getattr(transformers, "GPT2LMHeadModel" if name == "GPT2" else f"{name}ForCausalLM")(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(
        ["the quick brown fox jumps over the lazy dog\n" * 3, "def f(x):\n    return x"], 300
    ).save(folder)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_import_and_export_keep_logits_and_greedy_text(family: str, tokenizer: Path, tmp_path: Path) -> None:
    theirs = theirs_of(family)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_model(tmp_path / "theirs").eval()
    stored = sum(parameter.numel() for parameter in theirs.parameters())
    assert ours.config.parameters == stored == sum(parameter.numel() for parameter in ours.parameters())
    tokens = torch.randint(0, 300, (2, 60))
    with torch.no_grad():
        expected: Tensor = theirs(tokens).logits
        assert (ours(tokens) - expected).abs().max() < 1e-4
    save_model(ours, tokenizer, tmp_path / "back")
    back = AutoModelForCausalLM.from_pretrained(tmp_path / "back").eval()
    assert type(back) is type(theirs)
    with torch.no_grad():
        assert (back(tokens).logits - expected).abs().max() < 1e-4
    prompt = tokens[:1, :7]
    greedy = generate(
        ours, [prompt[0].tolist()], Sampling(max_new=40), seeds=[0], stop_ids=(), vocab_size=300
    )
    their_text = theirs.generate(
        prompt, max_new_tokens=40, do_sample=False, eos_token_id=None, pad_token_id=2
    )
    assert greedy[0].ids == their_text[0, 7:].tolist()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shards", [None, 2])
@torch.inference_mode()
def test_packed_cached_and_sharded_passes_are_the_plain_one(
    family: str, shards: int | None, tmp_path: Path
) -> None:
    theirs_of(family).save_pretrained(tmp_path)
    model = load_model(tmp_path).eval()
    pieces = [torch.randint(0, 300, (n,)) for n in (7, 1, 12)]
    alone = torch.cat([model(piece[None]) for piece in pieces], dim=1)
    positions = torch.cat([torch.arange(len(piece)) for piece in pieces])[None]
    segments = torch.cat([torch.full((len(piece),), i) for i, piece in enumerate(pieces)])[None]
    assert (model(torch.cat(pieces)[None], positions, segments) - alone).abs().max() < 1e-5
    tokens = torch.randint(0, 300, (2, 20))
    cache = KVCache(model.config, 2, 20)
    parts = [model(tokens[:, i : i + 3], cache=cache) for i in range(0, 20, 3)]
    assert (torch.cat(parts, dim=1) - model(tokens)).abs().max() < 1e-4
    many = [torch.randint(0, 300, (5,)).tolist() for _ in range(6)]
    texts = generate(model, many, Sampling(max_new=12), seeds=range(6), stop_ids=(), vocab_size=300)
    singly = [
        generate(model, [one], Sampling(max_new=12), seeds=[0], stop_ids=(), vocab_size=300)[0].ids
        for one in many
    ]
    assert [one.ids for one in texts] == singly
    linear = model.blocks[1].get_submodule("attention").get_submodule("qkv")
    x = torch.randn(5, model.config.width)
    assert (Matrices(model, shards).linear(linear, x) - linear(x)).abs().max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains(family: str, tmp_path: Path) -> None:
    theirs = theirs_of(family)
    theirs.save_pretrained(tmp_path)
    model = load_model(tmp_path)
    tokens = torch.randint(0, 300, (2, 24))
    targets = tokens.roll(-1, 1)
    for one in (model, theirs):
        out = one(tokens)
        logits = out if isinstance(out, Tensor) else out.logits
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    ours = model.embedding.weight.grad
    wanted = theirs.get_input_embeddings().weight.grad
    assert ours is not None and (ours - wanted).abs().max() < 1e-5
    name = "transformer.h.0.attn.c_attn" if family == "gpt2" else "model.layers.0.self_attn.q_proj"
    their_first = theirs.get_submodule(name).weight.grad
    our_first = model.blocks[0].get_submodule("attention").get_submodule("qkv").weight.grad
    their_first = their_first.T if family == "gpt2" else their_first
    assert (our_first[: len(their_first)] - their_first).abs().max() < 1e-5


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_of_every_family_go_to_peft_and_come_from_it(
    family: str, dora: bool, tmp_path: Path
) -> None:
    theirs = theirs_of(family)
    theirs.save_pretrained(tmp_path / "base")
    tokens = torch.randint(0, 300, (2, 20))
    model = load_model(tmp_path / "base").eval()
    add_lora(model, LoraConfig(rank=3, dora=dora), seed=1)
    with torch.no_grad():
        for adapter in adapters_of(model).values():
            adapter.B.add_(torch.randn_like(adapter.B) * 0.1)
        expected = model(tokens)
        save_adapter(model, tmp_path / "ours")
        wrapped = PeftModel.from_pretrained(theirs, tmp_path / "ours").eval()
        assert (wrapped(tokens).logits - expected).abs().max() < 1e-4
        assert (expected - load_model(tmp_path / "base")(tokens)).abs().max() > 0.01
        wrapped.save_pretrained(tmp_path / "theirs")
        again = load_model(tmp_path / "base").eval()
        load_adapter(again, tmp_path / "theirs")
        assert (again(tokens) - expected).abs().max() < 1e-5
        fold(again)
        assert (again(tokens) - expected).abs().max() < 1e-4


def test_adapters_on_layers_that_a_family_has_not_are_told(tmp_path: Path) -> None:
    theirs_of("gpt2").save_pretrained(tmp_path)
    with pytest.raises(
        ConfigError, match=r"q_proj: no layer of this model is called so; it has c_attn, c_fc, c_proj"
    ):
        add_lora(load_model(tmp_path), LoraConfig(targets=["q_proj"]), seed=1)


def test_weights_in_parts_and_in_half_precision(tmp_path: Path) -> None:
    theirs = theirs_of("qwen2.5").to(torch.bfloat16)
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    assert (tmp_path / "model.safetensors.index.json").is_file() and not (
        tmp_path / "model.safetensors"
    ).exists()
    ours = load_model(tmp_path)
    assert torch.equal(ours.embedding.weight, theirs.get_input_embeddings().weight.float())
    part = next(tmp_path.glob("model-00002-*.safetensors"))
    part.unlink()
    with pytest.raises(Refused, match=f"names {part.name}, which is not there"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"model_type": "mamba"},
            "model_type is 'mamba'; known are 'qwen3', 'qwen2', 'llama', 'mistral', 'gpt2'",
        ),
        ({"attention_bias": True}, "attention_bias is on"),
        ({"hidden_act": "gelu"}, "its activation is 'gelu', and 'silu' is known"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "stretched by 'yarn'"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 4.0}}, "low_freq_factor"),
        ({"num_hidden_layers": None}, "num_hidden_layers"),
    ],
)
def test_what_is_not_known_is_refused_by_name(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    theirs_of("llama").save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(Refused, match=said):
        read_config(tmp_path)


def test_a_window_of_mistral_bounds_the_context(tmp_path: Path) -> None:
    """Up to so many tokens, attention in a window is attention to everything; beyond them it is not."""
    theirs_of("mistral").save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sliding_window": 40}))
    assert read_config(tmp_path).max_length == 40


def test_pickled_weights_are_told_from_none(tmp_path: Path) -> None:
    theirs_of("llama").save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(Refused, match="save the model as safetensors"):
        load_model(tmp_path)


def test_decoders_of_all_layouts_are_of_their_predicted_size(tmp_path: Path) -> None:
    for family in FAMILIES:
        theirs_of(family).save_pretrained(tmp_path / family)
        config = read_config(tmp_path / family)
        assert sum(p.numel() for p in Decoder(config).parameters()) == config.parameters
