"""What stages show of themselves, end to end: losses by source, and advice with the artifact."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import CountingRows, tiny_decoder, workspace_at

from exnihilo.core.artifact import Artifact
from exnihilo.core.build import build
from exnihilo.core.config import validate
from exnihilo.core.jsonl import write_jsonl
from exnihilo.objectives.causal import causal
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokens.writer import TokenSetWriter
from exnihilo.train import pretrain, sft
from exnihilo.train.config import FitConfig, OptimizerConfig
from exnihilo.train.fit import fit


def sentences(seed: int, number: int) -> list[str]:
    """Short texts of a few words."""
    draw = random.Random(seed)
    things = ("sky", "grass", "blood", "snow", "coal"), ("blue", "green", "red", "white", "black")
    line = "The {} is {}."
    return ["\n".join(line.format(*map(draw.choice, things)) for _ in range(5)) for _ in range(number)]


def records(artifact: Artifact, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (artifact.path / name).read_text().splitlines()]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A token set of two sources in turn: sentences, and rows of one letter."""
    folder = tmp_path_factory.mktemp("mixed") / "mixed"
    tokenizer = train_tokenizer(sentences(0, 30), 300)
    tokenizer.save(folder / "tokenizer")
    with TokenSetWriter(folder, vocab_size=tokenizer.vocab_size, tokenizer=tokenizer.fingerprint) as writer:
        for split, number in (("train", 12), ("held_out", 6)):
            for i, text in enumerate(sentences(number, number)):
                words = "z" * len(text) if i % 2 else text
                ids = [tokenizer.bos, *tokenizer.encode(words), tokenizer.eos]
                writer.write(split, ids, len(words.encode()), "letters" if i % 2 else "sentences")
    return folder


@pytest.fixture(scope="module")
def base(mixed: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    values = {
        "tokens": "tokens", "model": {"depth": 1, "width": 32}, "steps": 40, "rows": 4, "length": 32,
        "validation_rows": 6, "sample_prompts": [], "log_every": 4,
    }  # fmt: skip
    settings = validate(pretrain.PretrainConfig, values, where="test")
    return build(pretrain.STAGE, settings, {"tokens": mixed}, tmp_path_factory.mktemp("run") / "base", seed=1)


def test_pretraining_tells_its_losses_by_source(base: Artifact) -> None:
    lines = records(base, "metrics.jsonl")
    trained = [line for line in lines if "loss" in line]
    assert all(
        {"loss/letters", "loss/sentences", "share/letters", "share/sentences"} <= line.keys()
        for line in trained
    )
    last = trained[-1]
    assert last["loss/letters"] < 0.5 * last["loss/sentences"]  # one letter over and over is soon learned
    assert last["share/letters"] + last["share/sentences"] == pytest.approx(1)
    first = trained[0]  # one step: the parts make up the whole
    assert sum(
        first[f"loss/{name}"] * first[f"share/{name}"] for name in ("letters", "sentences")
    ) == pytest.approx(first["loss"], rel=1e-4)
    summary = base.manifest["metrics"]
    assert (
        summary["validation_loss/letters"] < summary["validation_loss"] < summary["validation_loss/sentences"]
    )
    assert summary["validation_bits_per_byte/sentences"] > summary["validation_bits_per_byte/letters"]
    told = [line for line in base.manifest["lines"] if line.startswith("held out by source")]
    assert len(told) == 1 and told[0].index("sentences") < told[0].index("letters")
    assert any(line.startswith("held out: loss ") and "/" not in line for line in base.manifest["lines"])


def test_advice_is_kept_with_the_artifact_and_is_no_content(base: Artifact) -> None:
    (said,) = [line for line in records(base, "advice.jsonl") if line["rule"] == "many_epochs"]
    assert said["step"] == 1 and "mixed will be read" in said["text"] and "train_tokens" in said["text"]
    assert f"advice: {said['text']}" in base.manifest["lines"]
    assert not {"advice.jsonl", "metrics.jsonl"} & set(base.manifest["files"])


def test_a_run_that_learns_nothing_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    work = workspace_at(tmp_path)
    still = OptimizerConfig(lr=0.0, lr_embedding=0.0)
    fit(tiny_decoder(), causal, CountingRows(), FitConfig(steps=70, optimizer=still), work)
    (said,) = [json.loads(line) for line in (work.path / "advice.jsonl").read_text().splitlines()]
    assert (said["step"], said["rule"]) == (60, "no_better_than_guessing")  # two steps of warm-up, then fifty
    assert capsys.readouterr().err.count("nothing is learned") == 1
    assert work.lines == [f"advice: {said['text']}"]


def test_fine_tuning_tells_its_losses_by_family_and_replay(
    base: Artifact, mixed: Path, tmp_path: Path
) -> None:
    rows = []
    for i in range(12):
        family, question, answer = (
            ("echo", f"Say {i}.", str(i)) if i % 2 else ("colour", "The snow?", "white")
        )
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        rows.append({"messages": turns, "meta": {"family": family}})
    write_jsonl(tmp_path / "chats/train.jsonl", rows)
    write_jsonl(tmp_path / "chats/validation.jsonl", rows[:4])
    values = {
        "model": "base", "examples": "chats", "replay": "tokens", "replay_rows": 1, "rows": 3, "steps": 4,
        "sample_prompts": [], "log_every": 2, "length": 32,
    }  # fmt: skip
    settings = validate(sft.SFTConfig, values, where="test")
    inputs = {"model": base.path, "examples": tmp_path / "chats", "replay": mixed}
    made = build(sft.STAGE, settings, inputs, tmp_path / "sft", seed=1)
    last = [line for line in records(made, "metrics.jsonl") if "loss" in line][-1]
    names = {key.removeprefix("loss/") for key in last if key.startswith("loss/")}
    assert names == {"colour", "echo", "replay"}
    assert last["share/replay"] == pytest.approx(1 - last["share/colour"] - last["share/echo"])
    summary = made.manifest["metrics"]
    assert {key for key in summary if key.startswith("validation_loss/")} == {
        "validation_loss/colour",
        "validation_loss/echo",
    }
    assert any(line.startswith("validation by family or source, ") for line in made.manifest["lines"])
