"""Training adapters: updates as `peft`'s, nothing else touched, resumed to the bit, and the stage's artifact."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig as PeftConfig
from peft import PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file
from tiny_runs import CountingRows, start_processes, tiny_decoder, train_or_die, workspace_at
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from exnihilo.core.artifact import Artifact
from exnihilo.core.build import build
from exnihilo.core.config import validate
from exnihilo.core.errors import Refused
from exnihilo.model.adapter_folder import BASE, fingerprint, load_adapter
from exnihilo.model.adapters import adapters_of, add_lora
from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import load_model, save_model
from exnihilo.model.lora_config import LoraConfig
from exnihilo.objectives.causal import causal
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokens.batch import Batch
from exnihilo.train.budget import batch_flops
from exnihilo.train.config import FitConfig, OptimizerConfig, adapter_rate
from exnihilo.train.fit import fit
from exnihilo.train.optimizers import Optimizers
from exnihilo.train.sft import STAGE, SFTConfig
from exnihilo.train.step import Accumulator
from random_decoder import random_decoder

KINDS = pytest.mark.parametrize("dora", [False, True], ids=["lora", "dora"])
RATE = 0.01


@pytest.fixture(scope="module")
def base(token_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    vocabulary = Tokenizer.load(token_set / "tokenizer").vocab_size
    model = random_decoder(vocabulary, noise=0.08, kv_heads=1, hidden=64)
    folder = tmp_path_factory.mktemp("models") / "base"
    save_model(model, token_set / "tokenizer", folder)
    return folder


def rows(step: int) -> Batch:
    """Whole rows of one segment, so that `transformers` can read them, too."""
    generator = torch.Generator().manual_seed(step)
    tokens = torch.randint(8, 250, (3, 20), generator=generator)
    weights = (torch.rand(3, 19, generator=generator) < 0.7).float()
    columns = torch.arange(19).repeat(3, 1)
    return Batch(tokens[:, :-1], columns, torch.zeros_like(columns), tokens[:, 1:], weights)


@KINDS
def test_parity_updates_are_those_of_peft_on_the_same_tensors(dora: bool, base: Path, tmp_path: Path) -> None:
    """Five steps of AdamW on the exported base, A as PEFT draws it and B zero, in float32.

    After the first step A has not moved (its gradient is 0 where B is), and B by ±rate.
    """
    torch.manual_seed(1)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config = PeftConfig(r=4, lora_alpha=8, target_modules=targets, use_dora=dora, task_type="CAUSAL_LM")
    theirs = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    theirs.save_pretrained(tmp_path / "fresh")
    ours = load_model(base)
    load_adapter(ours, tmp_path / "fresh")
    settings = OptimizerConfig(lr=RATE, weight_decay=0.1)
    optimizer = Optimizers(ours, settings)
    accumulator = Accumulator(ours, causal, micro_rows=2)
    named = {n: p for n, p in theirs.named_parameters() if p.requires_grad}
    groups = [
        {"params": [p for p in named.values() if p.ndim == 2], "weight_decay": 0.1},
        {"params": [p for p in named.values() if p.ndim == 1], "weight_decay": 0.0},
    ]
    peer = torch.optim.AdamW(groups, lr=RATE, betas=settings.betas, eps=settings.eps)
    start = {name: adapter.A.detach().clone() for name, adapter in adapters_of(ours).items()}
    for step in range(5):
        batch = rows(step)
        accumulator.gradients(batch)
        logits = theirs(batch.tokens).logits
        losses = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="none")
        peer.zero_grad()
        (losses * batch.weights.flatten()).sum().div(batch.weights.sum()).backward()
        optimizer.step(1.0)
        peer.step()
        for name, adapter in adapters_of(ours).items():
            pairs = [(adapter.A, "lora_A.default.weight"), (adapter.B, "lora_B.default.weight")]
            if adapter.magnitude is not None:
                pairs.append((adapter.magnitude, "lora_magnitude_vector.default.weight"))
            for tensor, end in pairs:
                expected = named[f"base_model.model.{name}.{end}"]
                # AdamW divides by the gradient's own size: where that is rounding alone, so is the update.
                torch.testing.assert_close(tensor, expected, rtol=0, atol=2e-3 * RATE)
            if step == 0:
                assert torch.allclose(adapter.A, start[name] * (1 - 0.1 * RATE), atol=1e-8)
                assert adapter.B.detach().abs().median() == pytest.approx(RATE, rel=1e-3)
    assert all((a.A - start[n]).abs().max() > RATE for n, a in adapters_of(ours).items())


@KINDS
def test_only_adapters_are_trained_and_only_they_have_optimizer_state(dora: bool) -> None:
    model = tiny_decoder()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    add_lora(model, LoraConfig(rank=2, dora=dora), seed=0)
    optimizers = Optimizers(model, OptimizerConfig(weight_decay=0.3))
    assert list(optimizers.optimizers) == ["adamw"]  # though Muon is what trains matrices by default
    for step in range(2):
        Accumulator(model, causal, None).gradients(CountingRows().next(step))
        optimizers.step(1.0)
    own = {name for name, _ in model.named_parameters() if ".adapters." in name}
    assert {key.split("/", 2)[2] for key in optimizers.tensors()} == own
    for name, parameter in model.named_parameters():
        if name not in own:
            assert parameter.grad is None
            assert torch.equal(parameter, before[name.replace(".base.weight", ".weight")]), name
    groups = optimizers.optimizers["adamw"].param_groups
    assert [(g["params"][0].ndim, g["weight_decay"]) for g in groups] == [(2, 0.3), (1, 0.0)][: 1 + dora]
    assert all(group["lr"] == adapter_rate(16) for group in groups)
    assert Optimizers(model, OptimizerConfig(lr=0.5)).lr == 0.5


def test_perf_3_flops_count_no_gradient_of_frozen_matrices() -> None:
    shape = {"width": 48, "depth": 6, "heads": 3, "kv_heads": 3, "head_dim": 16, "hidden": 128}
    model = Decoder(DecoderConfig(vocab_size=300, max_length=32, **shape))
    add_lora(model, LoraConfig(rank=4), seed=0)
    size = sum(p.numel() for a in adapters_of(model).values() for p in a.parameters())
    columns = torch.arange(32).repeat(2, 1)
    tokens = torch.randint(300, (2, 33))
    batch = Batch(tokens[:, :-1], columns, torch.zeros_like(columns), tokens[:, 1:], torch.ones(2, 32))
    with FlopCounterMode(display=False) as counter:
        causal(model, batch).total.backward()
    # The counter sees attention to all keys of a tile, here of the row; not products added in place (B's, forward).
    # The first block has no input whose gradient is wanted. What lies beside the Bs of a fused matrix are zeros,
    # multiplied with to no use.
    config, rank, positions = model.config, 4, 64
    above = 12 * config.depth * config.attention_width * (positions * 32 - int((batch.positions + 1).sum()))
    first = 2 * positions * 48 * (3 * 48 + 3 * rank)
    zeros = 6 * positions * config.depth * rank * (2 * 3 * 48 + 2 * 128)
    in_place = 2 * positions * config.depth * rank * (3 * 3 * 48 + 48 + 2 * 2 * 128 + 48)
    expected = batch_flops(config, batch, size) + above - first + zeros - in_place
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.01)


def weights_of(folder: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(folder / f"stage.partial/checkpoints/step-{step:08d}" / "model.safetensors")


def test_train_4_killed_adapters_resume_to_the_bit_and_checkpoints_hold_nothing_else(tmp_path: Path) -> None:
    """kill -9 in step 17 of 30, under dropout; the checkpoint is that of step 10."""
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    ends = [
        start_processes(1, train_or_die, folder, 30, resume, kill_at, signal.SIGKILL, True)[0]
        for folder, kill_at, resume in ((straight, -1, "auto"), (broken, 17, "auto"), (broken, -1, "must"))
    ]
    assert ends == [0, -signal.SIGKILL, 0]
    expected, found = weights_of(straight, 30), weights_of(broken, 30)
    assert expected.keys() == found.keys() and all(".adapters." in name for name in expected)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert any(not torch.equal(expected[name], weights_of(straight, 20)[name]) for name in expected)


def test_model_7_a_checkpoint_is_not_continued_on_another_base_or_scale(tmp_path: Path) -> None:
    def train(folder: Path, steps: int, *, seed: int = 0, alpha: float = 4.0, resume: str = "auto") -> None:
        model = tiny_decoder(seed)
        add_lora(model, LoraConfig(rank=2, alpha=alpha), seed=1)
        fit(model, causal, CountingRows(), FitConfig(steps=steps), workspace_at(folder, resume))

    train(tmp_path / "first", 2)
    checkpoint = str(tmp_path / "first/stage.partial/checkpoints/step-00000002")
    train(tmp_path / "same", 3, resume=checkpoint)
    for change in ({"seed": 1}, {"alpha": 5.0}):
        with pytest.raises(Refused, match="trained on another base model, other adapters, or none"):
            train(tmp_path / "other", 3, resume=checkpoint, **change)
    with pytest.raises(Refused, match="another base model"):
        fit(
            tiny_decoder(),
            causal,
            CountingRows(),
            FitConfig(steps=3),
            workspace_at(tmp_path / "x", checkpoint),
        )


ANSWERS = {"sky": "blue", "grass": "green", "snow": "white", "coal": "black"}


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"What colour is the {thing}?"},
                {"role": "assistant", "content": f"The {thing} is {colour}."},
            ]
        }
        for thing, colour in ANSWERS.items()
    ]
    path = tmp_path_factory.mktemp("chats") / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows * 6))
    return path


def tune(model: Path, chats: Path, out: Path, **lora: Any) -> Artifact:
    values = {
        "model": "base",
        "examples": "chats",
        "rows": 2,
        "sample_tokens": 4,
        "steps": 12,
        "log_every": 1,
    }
    config = validate(SFTConfig, values | {"lora": {"rank": 4} | lora}, where="test")
    return build(STAGE, config, {"model": model, "examples": chats}, out, seed=1)


def test_model_7_chained_stages_leave_merged_models_and_adapters_that_name_their_base(
    base: Path, chats: Path, tmp_path: Path
) -> None:
    first = tune(base, chats, tmp_path / "first")
    second = tune(first.path, chats, tmp_path / "second", dora=True, targets=["q_proj", "down_proj"])
    losses = [json.loads(line)["loss"] for line in (first.path / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < 0.9 * losses[0]
    tokens = rows(0).tokens
    for start, artifact in ((base, first.path), (first.path, second.path)):
        with safe_open(artifact / "adapter/adapter_model.safetensors", "pt") as file:
            assert file.metadata()[BASE] == fingerprint(load_model(start))
        merged, adapted = load_model(artifact), load_model(start)
        load_adapter(adapted, artifact / "adapter")
        theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(start), artifact / "adapter")
        with torch.no_grad():
            expected = merged(tokens)
            assert (expected - load_model(start)(tokens)).abs().max() > 0.05
            assert (expected - adapted(tokens)).abs().max() < 1e-5
            assert (expected - theirs.eval()(tokens).logits).abs().max() < 1e-5
        before = load_model(start).state_dict()
        for name, tensor in merged.state_dict().items():
            if "norm" in name or "embedding" in name:
                assert torch.equal(tensor, before[name]), name
    assert {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"} <= second.manifest[
        "files"
    ].keys()
    with pytest.raises(Refused, match="load it on the model that it was trained on"):
        load_adapter(load_model(base), second.path / "adapter")
