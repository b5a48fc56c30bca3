"""Adapters on disk: what `peft` reads and writes, whose base they name, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig as PeftConfig
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from exnihilo.core.errors import ExnihiloError, Refused
from exnihilo.model.adapter_folder import BASE, fingerprint, load_adapter, save_adapter, save_tuned
from exnihilo.model.adapters import adapters_of, add_lora, lora_layers
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import load_model, save_model
from exnihilo.model.lora_config import BLOCK_TARGETS, LoraConfig
from exnihilo.tokenizer.bpe import train_tokenizer
from random_decoder import random_decoder

KINDS = pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
TOKENS = torch.randint(8, 250, (2, 21), generator=torch.Generator().manual_seed(5))


def export(tokenizer: Path, out: Path, *, tied: bool, depth: int = 2, seed: int = 3) -> Path:
    model = random_decoder(280, noise=0.12, seed=seed, depth=depth, heads=4, head_dim=8, tied=tied)
    save_model(model, tokenizer, out)
    return out


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(["the quick brown fox jumps over the lazy dog"] * 3, 264).save(folder)
    return folder


@pytest.fixture(scope="module")
def base(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tokenizer, tmp_path_factory.mktemp("models") / "base", tied=True)


@pytest.fixture(scope="module")
def untied(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tokenizer, tmp_path_factory.mktemp("models") / "untied", tied=False)


def adapted(base: Path, **settings: Any) -> Decoder:
    """The model in `base` with adapters that have moved from where they start."""
    model = load_model(base).eval()
    add_lora(model, LoraConfig(**{"rank": 4, "alpha": 6.0, **settings}), seed=1)
    torch.manual_seed(2)
    with torch.no_grad():
        for adapter in adapters_of(model).values():
            adapter.B.normal_(std=0.1)
            if adapter.magnitude is not None:
                adapter.magnitude.mul_(torch.rand_like(adapter.magnitude) + 0.5)
    return model


def peft_on(base: Path, folder: Path) -> PeftModel:
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder).eval()


@torch.no_grad()
def logits(model: Any) -> Tensor:
    out = model(TOKENS)
    return out if isinstance(out, Tensor) else out.logits


@KINDS
@pytest.mark.parametrize("targets", [BLOCK_TARGETS, ["v_proj", "gate_proj"], [*BLOCK_TARGETS, "lm_head"]])
def test_parity_peft_loads_our_adapters_with_equal_logits(
    dora: bool, targets: list[str], base: Path, untied: Path, tokenizer: Path, tmp_path: Path
) -> None:
    folder = untied if "lm_head" in targets else base
    model = adapted(folder, dora=dora, targets=targets)
    save_adapter(model, tmp_path / "adapter")
    ours = logits(model)
    assert (ours - logits(load_model(folder))).abs().max() > 0.05
    assert (ours - logits(peft_on(folder, tmp_path / "adapter"))).abs().max() < 1e-5
    with pytest.raises(ExnihiloError, match="the model has adapters"):
        save_model(model, tokenizer, tmp_path / "tuned")
    # The artifact of a stage: merged weights for everybody, and the same adapters beside them.
    save_tuned(model, tokenizer, tmp_path / "tuned")
    assert (ours - logits(AutoModelForCausalLM.from_pretrained(tmp_path / "tuned"))).abs().max() < 1e-5
    assert (ours - logits(load_model(tmp_path / "tuned"))).abs().max() < 1e-5
    assert (tmp_path / "tuned/adapter/adapter_model.safetensors").read_bytes() == (
        tmp_path / "adapter/adapter_model.safetensors"
    ).read_bytes()
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert config["target_modules"] == sorted(targets) and config["r"] == 4 and config["lora_alpha"] == 6


PEFT_MADE = {
    "plain": {"target_modules": ["q_proj", "v_proj"]},
    "everything": {"target_modules": "all-linear", "use_dora": True},
    "patterns": {
        "target_modules": BLOCK_TARGETS,
        "rank_pattern": {"down_proj": 3, r"layers\.0\.mlp\.up_proj": 7},
        "alpha_pattern": {"self_attn.k_proj": 9},
    },
    "one layer": {"target_modules": ["k_proj", "o_proj"], "layers_to_transform": [1], "use_rslora": True},
}


@pytest.mark.parametrize("kind", PEFT_MADE)
def test_parity_adapters_that_peft_made_load_here_and_go_back(kind: str, base: Path, tmp_path: Path) -> None:
    torch.manual_seed(4)
    config = PeftConfig(r=5, lora_alpha=8, task_type="CAUSAL_LM", init_lora_weights=False, **PEFT_MADE[kind])
    theirs = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "magnitude" in name:
                parameter.mul_(torch.rand_like(parameter) + 0.5)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_model(base).eval()
    plain = logits(ours)
    load_adapter(ours, tmp_path / "theirs")
    expected = logits(theirs)
    assert (expected - plain).abs().max() > 0.05
    assert (logits(ours) - expected).abs().max() < 1e-5
    trained = {name for name, p in ours.named_parameters() if p.requires_grad}
    assert trained and all(".adapters." in name for name in trained)
    save_adapter(ours, tmp_path / "back")
    assert (logits(peft_on(base, tmp_path / "back")) - expected).abs().max() < 1e-5
    before, after = (load_file(tmp_path / one / "adapter_model.safetensors") for one in ("theirs", "back"))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_model_7_adapters_name_their_base_by_hash(
    base: Path, untied: Path, tokenizer: Path, tmp_path: Path
) -> None:
    model = adapted(base)
    save_adapter(model, tmp_path / "adapter")
    known = fingerprint(load_model(base))
    assert fingerprint(model) == known  # adapters left out
    with pytest.raises(Refused, match=r"trained on the model of weights \w{12}, and this one's are"):
        load_adapter(
            wrong := load_model(export(tokenizer, tmp_path / "other", tied=True, seed=4)),
            tmp_path / "adapter",
        )
    assert not adapters_of(wrong) and all(p.requires_grad for p in wrong.parameters())
    # The merged model is another model: a stage that goes on from there stands on that one.
    save_tuned(model, tokenizer, tmp_path / "tuned")
    tuned = load_model(tmp_path / "tuned")
    assert fingerprint(tuned) == fingerprint(model) != known
    with pytest.raises(Refused, match="load it on the model that it was trained on"):
        load_adapter(tuned, tmp_path / "adapter")
    one = load_model(base)
    with torch.no_grad():
        one.norm.weight[3] += 1e-6
    assert fingerprint(one) != known
    load_adapter(again := load_model(base), tmp_path / "adapter")
    assert lora_layers(again)


def test_equal_adapters_are_equal_files(base: Path, tmp_path: Path) -> None:
    """The hash of an artifact depends on it; safetensors orders metadata anew in each call."""
    model = adapted(base, targets=["q_proj"])
    files = set()
    for turn in range(12):
        save_adapter(model, tmp_path / str(turn))
        files.add((tmp_path / str(turn) / "adapter_model.safetensors").read_bytes())
    assert len(files) == 1
    (file,) = files
    assert int.from_bytes(file[:8], "little") % 8 == 0


def test_unfit_folders_are_refused_and_leave_the_model_alone(
    base: Path, tokenizer: Path, tmp_path: Path
) -> None:
    sound = tmp_path / "sound"
    save_adapter(adapted(base), sound)

    def refused(complaint: str, change: Callable[[Path], None], onto: Path = base) -> None:
        folder = tmp_path / "changed"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(sound, folder)
        change(folder)
        model = load_model(onto)
        with pytest.raises(Refused, match=complaint):
            load_adapter(model, folder)
        assert not lora_layers(model) and all(p.requires_grad for p in model.parameters())

    def setting(key: str, value: Any) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            path = folder / "adapter_config.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))

        return change

    def tensors(edit: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Callable[[Path], None]:
        def change(folder: Path) -> None:
            path = folder / "adapter_model.safetensors"
            save_file(edit(load_file(path)), path)

        return change

    first = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"
    refused("no adapter_config.json", lambda folder: (folder / "adapter_config.json").unlink())
    refused("broken", lambda folder: (folder / "adapter_config.json").write_text("{"))
    refused("broken", setting("lora_alpha", "much"))
    refused("peft_type is 'IA3'; only 'LORA'", setting("peft_type", "IA3"))
    refused("bias is 'all'", setting("bias", "all"))
    refused(r"modules_to_save is \['embed_tokens'\]", setting("modules_to_save", ["embed_tokens"]))
    refused("init_lora_weights is 'pissa'", setting("init_lora_weights", "pissa"))
    refused("new_thing is 3.*merge the adapters with peft", setting("new_thing", 3))
    refused("no adapter_model.safetensors", lambda folder: (folder / "adapter_model.safetensors").unlink())
    refused(
        "cut short or altered", lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"\0" * 40)
    )
    refused("holds no adapters", tensors(lambda found: {}))
    refused(r"the adapter of model.layers.0.mlp.down_proj is \(32, 4\) x \(4, 40\)", tensors(
        lambda found: found | {first: torch.zeros(4, 40)}
    ))  # fmt: skip
    refused(r"model.layers.9.x.lora_A.weight belongs to no layer", tensors(
        lambda found: found | {first.replace("0.mlp.down_proj", "9.x"): torch.zeros(4, 40)}
    ))  # fmt: skip
    # Without a hash (PEFT writes none) shapes have to tell.
    deeper = export(tokenizer, tmp_path / "shallow", tied=True, depth=1)
    refused("model.layers.1.mlp.down_proj.lora_A.weight belongs to no layer", tensors(dict), deeper)
    with pytest.raises(Refused, match="no adapters to save"):
        save_adapter(load_model(base), tmp_path / "none")
    assert BASE == "base_blake3"
