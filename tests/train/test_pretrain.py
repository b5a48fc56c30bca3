from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_runs import start_processes

from exnihilo.core.artifact import Artifact
from exnihilo.core.build import build
from exnihilo.core.config import key_table, references, resolve, validate
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.model.folder import load_model
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokens.batch import Batch
from exnihilo.tokens.sampler import DocumentRows
from exnihilo.tokens.shards import TokenSet
from exnihilo.train.pretrain import STAGE, PretrainConfig, estimate
from exnihilo.train.validation import HeldOutLoss

SMALL = {"model": {"depth": 2, "width": 32}, "steps": 40, "rows": 4, "length": 48, "validation_rows": 6}


def config(**more: Any) -> PretrainConfig:
    return validate(PretrainConfig, {"tokens": "tokens", **SMALL, **more}, where="test")


@pytest.fixture(scope="module")
def made(token_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    out = tmp_path_factory.mktemp("run") / "base"
    settings = config(log_every=5, sample_prompts=["The sky", ""], sample_tokens=8, validate_every=10)
    return build(STAGE, settings, {"tokens": token_set}, out, seed=3)


def records(artifact: Artifact, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (artifact.path / name).read_text().splitlines()]


def test_it_makes_a_model_that_has_learned(made: Artifact, token_set: Path) -> None:
    assert made.kind == "model"
    model = load_model(made.path)
    assert (model.config.depth, model.config.width, model.config.max_length) == (2, 32, 48)
    assert Tokenizer.load(made.path).fingerprint == TokenSet.open(token_set).tokenizer_fingerprint
    assert not (made.path / "checkpoints").exists()
    lines = records(made, "metrics.jsonl")
    validated = [line["validation_bits_per_byte"] for line in lines if "validation_loss" in line]
    assert len(validated) == 4 and validated[-1] < 0.7 * validated[0]
    summary = made.manifest["metrics"]
    assert summary["tokens"] == 40 * 4 * 48 and summary["parameters"] == model.config.parameters
    assert summary["validation_bits_per_byte"] == validated[-1]
    assert summary["flops"] > 0 and 0 < summary["epochs"]["colours"] < 20
    assert any("width" in reason or "heads" in reason for reason in summary["derived"])
    assert "40 steps" in made.manifest["lines"][0]


def test_bits_per_byte_is_that_of_the_held_out_rows(made: Artifact, token_set: Path) -> None:
    """By hand: all nats, those of the end tokens too, over the bytes of the tokens predicted."""
    model, tokenizer = load_model(made.path), Tokenizer.load(made.path)
    batch = DocumentRows([TokenSet.open(token_set, "held_out")], None, 6, 48, seed=0).next(0)
    with torch.inference_mode():
        found = HeldOutLoss(model, batch, tokenizer.token_bytes, rows=4)()
        logits = model(batch.tokens, batch.positions, batch.segments)
        nats = F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), reduction="sum").item()
    size = sum(len(tokenizer.decode_bytes([i])) for i in batch.targets.flatten().tolist())
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / size, rel=1e-5)
    assert found["loss"] == pytest.approx(nats / batch.targets.numel(), rel=1e-5)


def test_samples_are_of_the_same_prompts_at_every_step(made: Artifact) -> None:
    samples = records(made, "samples.jsonl")
    assert [sample["step"] for sample in samples] == [step for step in range(5, 41, 5) for _ in range(2)]
    assert {sample["prompt"] for sample in samples} == {"The sky", ""}
    assert any(sample["text"] for sample in samples)


def test_same_seed_same_weights_other_seed_others(made: Artifact, token_set: Path, tmp_path: Path) -> None:
    settings = config(log_every=5, sample_prompts=[], validation_rows=0)  # records do not change the result
    again = build(STAGE, settings, {"tokens": token_set}, tmp_path / "again", seed=3)
    other = build(STAGE, settings, {"tokens": token_set}, tmp_path / "other", seed=4)
    assert again.content == made.content != other.content
    assert again.manifest["key"] == made.manifest["key"] != other.manifest["key"]


def build_or_die(rank: int, token_set: Path, out: Path, kill_at: int) -> None:
    plain = DocumentRows.next

    def next_or_die(self: DocumentRows, step: int, model: object = None) -> Batch:
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(self, step, model)

    DocumentRows.next = next_or_die  # type: ignore[method-assign]
    settings = config(checkpoint_every=7, sample_prompts=[], validation_rows=0)
    build(STAGE, settings, {"tokens": token_set}, out, seed=3)


def test_train_4_a_stage_killed_and_run_again_has_the_content_of_an_unbroken_one(
    token_set: Path, tmp_path: Path
) -> None:
    unbroken, broken = tmp_path / "unbroken" / "base", tmp_path / "broken" / "base"
    assert start_processes(1, build_or_die, token_set, unbroken, -1) == [0]
    assert start_processes(1, build_or_die, token_set, broken, 25) == [-signal.SIGKILL]
    assert not broken.exists() and (broken.parent / "base.partial/checkpoints/step-00000021").is_dir()
    assert start_processes(1, build_or_die, token_set, broken, -1) == [0]
    assert "continuing at step 21 of 40 (config unchanged)" in (broken.parent / "log.txt").read_text()
    assert Artifact.open(broken).content == Artifact.open(unbroken).content


def test_token_sets_are_mixed_by_weight(token_set: Path, tmp_path: Path) -> None:
    second = shutil.copytree(token_set, tmp_path / "second")
    settings = config(tokens=["a", "b"], weights=[3, 1], steps=4, sample_prompts=[])
    inputs = {"tokens": {"a": token_set, "b": second}}
    epochs = build(STAGE, settings, inputs, tmp_path / "base", seed=1).manifest["metrics"]["epochs"]
    assert epochs["colours"] == pytest.approx(3 * epochs["second"])
    with pytest.raises(ConfigError, match=r"weights: 1 given for 2"):
        config(tokens=["a", "b"], weights=[1])


def test_tok_12_a_pad_token_that_ends_texts_is_refused_before_training(
    token_set: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(token_set, tmp_path / "tokens")
    path = folder / "tokenizer/tokenizer_config.json"
    settings = json.loads(path.read_text())
    for pad in ("<|end|>", "<|eos|>", None):
        path.write_text(json.dumps({**settings, "pad_token": pad}))
        with pytest.raises(Refused, match=r"pad_token.*set .?\"pad_token\" in tokenizer_config.json"):
            build(STAGE, config(), {"tokens": folder}, tmp_path / "base", seed=1)


def test_tokens_of_another_tokenizer_are_refused(token_set: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(token_set, tmp_path / "tokens")
    path = folder / "tokenizer/chat_template.jinja"
    path.write_text(path.read_text() + "\n")
    with pytest.raises(Refused, match="tokenize the corpus again"):
        build(STAGE, config(), {"tokens": folder}, tmp_path / "base", seed=1)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"model": {"params": "3M", "depth": 2}}, "params and depth both set the size"),
        ({"train_tokens": "8M"}, "steps and train_tokens both say how long"),
        ({"stpes": 4}, "stpes: unknown key; did you mean steps"),
        ({"optimizer": {"name": "sgd"}}, "optimizer.name"),
        ({"steps": 0}, "steps"),
    ],
)
def test_wrong_settings_are_told_before_any_work(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        config(**values)


def test_flags_read_by_type() -> None:
    flags = {
        "tokens": "x,y",
        "model": {"params": "3M"},
        "train_tokens": "8M",
        "clip": "none",
        "weights": "1,2",
    }
    found = resolve(PretrainConfig, flags=flags, environ={})
    assert (found.model.params, found.train_tokens, found.clip, found.weights) == (
        3_000_000,
        8_000_000,
        None,
        [1, 2],
    )
    assert references(PretrainConfig) == {"tokens": "tokens"}
    assert all(row.description for row in key_table(PretrainConfig))


def test_estimate_names_what_is_derived(token_set: Path) -> None:
    lines = estimate(
        validate(PretrainConfig, {"tokens": "t", "model": {"params": "20k"}}, where="t"),
        {"tokens": token_set},
    )
    assert any("FLOPs" in line for line in lines) and any("rows" in line for line in lines)
    assert estimate(config(), {}) == []


def test_core_7_importing_stages_and_their_configs_imports_no_torch() -> None:
    modules = ", ".join(f"exnihilo.train.{name}" for name in ("pretrain", "sft", "config", "budget"))
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
