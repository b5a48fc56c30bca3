"""The stage `merge`: a base and adapters become one model, whoever made the adapters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig as PeftConfig
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from exnihilo.core.artifact import Artifact
from exnihilo.core.build import build
from exnihilo.core.errors import Refused
from exnihilo.model.folder import load_model, save_model
from exnihilo.model.merge import STAGE, MergeConfig
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.tokenizer import Tokenizer
from random_decoder import random_decoder


def export(folder: Path, tokenizer: Tokenizer, seed: int = 0) -> Path:
    model = random_decoder(tokenizer.vocab_size, seed=seed, depth=1, kv_heads=1)
    tokenizer.save(folder / "tokenizer")
    save_model(model, folder / "tokenizer", folder / f"base-{seed}")
    return folder / f"base-{seed}"


def merge(base: Path, adapter: Path, out: Path) -> Artifact:
    return build(STAGE, MergeConfig(model="b", adapter="a"), {"model": base, "adapter": adapter}, out, seed=1)


def test_adapters_of_peft_become_a_model_and_those_beside_it_name_the_base(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(["the quick brown fox"] * 3, 264)
    base = export(tmp_path, tokenizer)
    torch.manual_seed(1)
    config = PeftConfig(
        r=3,
        target_modules=["q_proj", "up_proj"],
        use_dora=True,
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    theirs = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).eval()
    theirs.save_pretrained(tmp_path / "adapter")
    made = merge(base, tmp_path / "adapter", tmp_path / "merged")
    tokens = torch.randint(8, 250, (2, 15))
    with torch.no_grad():
        expected = theirs(tokens).logits
        assert (expected - load_model(base)(tokens)).abs().max() > 0.01
        assert (expected - load_model(made.path)(tokens)).abs().max() < 1e-5
    assert made.manifest["lines"] == ["2 adapters merged: DoRA of rank 3"]
    assert Tokenizer.load(made.path).fingerprint == tokenizer.fingerprint
    # What peft wrote names no base; what we write does (model-7).
    again = merge(base, made.path / "adapter", tmp_path / "again")
    assert again.content == made.content
    with pytest.raises(Refused, match="trained on the model of weights"):
        merge(export(tmp_path, tokenizer, seed=2), made.path / "adapter", tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()
