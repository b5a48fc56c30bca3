"""A model folder: what transformers reads, what we read back, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from exnihilo.core.errors import Refused
from exnihilo.infer.generate import generate
from exnihilo.infer.sampling import Sampling, of_tokenizer
from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import load_model, save_model
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer

TEXTS = [
    "the quick brown fox jumps over the lazy dog, and the dog does not mind at all\n" * 3,
    "def f(x):\n    return x",
]
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "the fox <|end|> jumps"}]


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TEXTS, 300).save(folder)
    return folder


def make(tokenizer_folder: Path, out: Path, *, tied: bool = True) -> Decoder:
    vocabulary = Tokenizer.load(tokenizer_folder).vocab_size
    config = DecoderConfig(
        vocab_size=vocabulary,
        width=32,
        depth=2,
        heads=4,
        kv_heads=2,
        head_dim=8,
        hidden=64,
        tied=tied,
        max_length=96,
    )
    torch.manual_seed(3)
    model = Decoder(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    save_model(model, tokenizer_folder, out)
    return model.eval()


@pytest.mark.parametrize("tied", [True, False])
def test_export_1_transformers_loads_it_with_equal_logits_ids_and_greedy_text(
    tokenizer_folder: Path, tmp_path: Path, tied: bool
) -> None:
    model = make(tokenizer_folder, tmp_path, tied=tied)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(theirs).__name__ == "Qwen3ForCausalLM"
    their_tokenizer, ours = AutoTokenizer.from_pretrained(tmp_path), Tokenizer.load(tmp_path)
    ids = Renderer(ours).prompt(CHAT)
    rendered = their_tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, return_dict=False)
    # A special token's literal that a user typed is text to us; transformers would read it as the token.
    plain = [dict(m, content=m["content"].replace("<|end|>", "")) for m in CHAT]
    assert Renderer(ours).prompt(plain) == their_tokenizer.apply_chat_template(
        plain, add_generation_prompt=True, return_dict=False
    )
    assert rendered != ids and ids.count(ours.end) == 2
    assert their_tokenizer("the fox\n    x")["input_ids"] == ours.encode("the fox\n    x")
    with torch.no_grad():
        tokens = torch.tensor([ids])
        assert (model(tokens) - theirs(tokens).logits).abs().max() < 1e-4
    mine = generate(model, [ids], Sampling(max_new=24), seeds=[0], **of_tokenizer(ours))[0].ids
    banned = list(of_tokenizer(ours)["banned"])
    output = theirs.generate(tokens, max_new_tokens=24, do_sample=False, suppress_tokens=banned)[
        0, len(ids) :
    ].tolist()
    assert output[: len(mine)] == mine


def test_export_2_generation_stops_on_end_of_turn_and_end_of_document(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    make(tokenizer_folder, tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    for name in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / name).read_text())["eos_token_id"] == [tokenizer.end, tokenizer.eos]
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    for stop in (tokenizer.end, tokenizer.eos):
        bias = [[[stop], 1e4]]
        output = theirs.generate(torch.tensor([[0, 4, 50]]), max_new_tokens=9, sequence_bias=bias)
        assert output[0, 3:].tolist() == [stop]


def test_export_3_both_spellings_are_present_and_agree(tokenizer_folder: Path, tmp_path: Path) -> None:
    make(tokenizer_folder, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"]
    assert config["torch_dtype"] == config["dtype"] == "float32"
    template = json.loads((tmp_path / "tokenizer_config.json").read_text())["chat_template"]
    assert template == (tmp_path / "chat_template.jinja").read_text()


@pytest.mark.parametrize("tied", [True, False])
def test_export_4_weights_round_trip_and_a_tied_head_is_saved_once(
    tokenizer_folder: Path, tmp_path: Path, tied: bool
) -> None:
    model = make(tokenizer_folder, tmp_path, tied=tied)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
        stored = sum(file.get_tensor(name).numel() for name in file.keys())  # noqa: SIM118 (safe_open is no dict)
        assert ("lm_head.weight" in file.keys()) is not tied  # noqa: SIM118
    assert stored == model.config.parameters
    # A server loads models in a thread of its own: what others draw meanwhile must not hang on it.
    before = torch.get_rng_state()
    loaded = load_model(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert loaded.config == model.config
    assert torch.equal(loaded.cos, model.cos) and torch.equal(loaded.sin, model.sin)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name]), name
    tokens = torch.randint(8, 200, (1, 9))
    assert torch.equal(loaded.eval()(tokens), model(tokens))


def test_broken_folders_are_refused_by_name(tokenizer_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"no config\.json"):
        load_model(tmp_path)
    make(tokenizer_folder, tmp_path)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Refused, match="cut short or altered"):
        load_model(tmp_path)
    weights.write_bytes(whole)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"intermediate_size": 48}))
    with pytest.raises(Refused, match=r"do not match config\.json"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "mamba"}))
    with pytest.raises(Refused, match="'mamba'; known are 'qwen3'"):
        load_model(tmp_path)
    weights.unlink()
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(Refused, match=r"no model.safetensors"):
        load_model(tmp_path)


def test_a_loaded_model_trains_like_a_new_one(tokenizer_folder: Path, tmp_path: Path) -> None:
    """Muon reads `blocks` off the fused matrices; a loader that replaces parameters would lose it."""
    made = make(tokenizer_folder, tmp_path)
    for one, two in zip(made.parameters(), load_model(tmp_path).parameters(), strict=True):
        assert getattr(one, "blocks", 1) == getattr(two, "blocks", 1) and two.requires_grad
    assert (
        made.blocks[0].attention.qkv.weight.blocks == 4
        and made.blocks[0].feed_forward.gate_up.weight.blocks == 2
    )
