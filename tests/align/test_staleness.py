"""Rollouts made ahead: as old as the step says, never older, whoever is faster, and after a kill."""

from __future__ import annotations

import copy
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from exnihilo.align.staleness import StaleRollouts
from exnihilo.core.artifact import read_manifest
from exnihilo.core.errors import Refused
from exnihilo.core.jsonl import write_jsonl
from exnihilo.model.adapters import add_lora
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import save_model
from exnihilo.model.lora_config import LoraConfig
from exnihilo.objectives.policy import OLD, REFERENCE, SAMPLED, PolicyGradient
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokens.batch import Batch
from random_rollouts import by_length, items, make_model, rollouts

STEPS, STALENESS = 6, 2


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["What is one plus one? It is two. Yes. No. " * 4], 280)


def slow(seconds: float) -> Callable[[dict[str, Any], str], float | None]:
    def judge(item: dict[str, Any], text: str) -> float | None:
        time.sleep(seconds)
        return by_length(item, text)

    return judge


def trained(source: Any, model: Decoder, steps: range, pause: float = 0.0) -> list[Batch]:
    """The batches of these steps, each of which changes the model."""
    batches = []
    for step in steps:
        batch = source.next(step, model)
        batches.append(batch)
        model.zero_grad()
        loss = PolicyGradient(0.1, importance_cap=2.0)(model, batch)
        (loss.total / loss.weight).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter.sub_(0.1 * parameter.grad)
        time.sleep(pause)
    return batches


def same(one: Batch, other: Batch) -> bool:
    return all(torch.equal(tensor, other.fields()[name]) for name, tensor in one.fields().items())


def test_each_batch_is_of_the_weights_that_its_step_names_whoever_is_faster(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """A producer that takes longer than a step, and a trainer that does: both get what weights kept from each step
    give when they are asked for it in no hurry."""
    found, versions = {}, []
    for name, pace, pause in (("slow trainer", 0.0, 0.05), ("slow producer", 0.003, 0.0)):
        model, told = make_model(tokenizer), []
        made = rollouts(
            tokenizer, make_model(tokenizer), slow(pace),
            record=lambda step, responses, rewards, figures, told=told: told.append((step, figures)),
        )  # fmt: skip
        with StaleRollouts(made, staleness=STALENESS, steps=STEPS, folder=tmp_path / name) as source:
            found[name] = trained(source, model, range(STEPS), pause)
        assert (
            len(list((tmp_path / name).glob("*.safetensors"))) == STEPS
        )  # none is made that nobody learns from
        assert [step for step, _ in told] == list(range(1, STEPS + 1))
        assert [figures["staleness"] for _, figures in told] == [0, 1, 2, 2, 2, 2]
        versions.append(model)
    for one, other in zip(*found.values(), strict=True):
        assert same(one, other)
    assert all(torch.equal(a, b) for a, b in zip(*(m.parameters() for m in versions), strict=True))

    model, kept = make_model(tokenizer), []
    with StaleRollouts(
        rollouts(tokenizer, make_model(tokenizer)),
        staleness=STALENESS,
        steps=STEPS,
        folder=tmp_path / "again",
    ) as source:
        for step in range(STEPS):
            kept.append(copy.deepcopy(model))
            trained(source, model, range(step, step + 1))
    alone = rollouts(tokenizer, make_model(tokenizer))
    for step, batch in enumerate(found["slow trainer"]):
        weights = kept[max(0, step - STALENESS)]
        expected = alone.make(step, weights, alone.reference).batch
        assert all(torch.equal(tensor, batch.fields()[name]) for name, tensor in expected.fields().items())
        assert torch.equal(batch.extra[OLD], alone.logprobs(weights, batch))
    # What sampled is not what is trained any more, and yet sampler and trainer agree on what was sampled.
    last, kept_tokens = found["slow trainer"][-1], found["slow trainer"][-1].weights != 0
    assert (last.extra[OLD] - last.extra[SAMPLED])[kept_tokens].abs().max() < 1e-4
    now = alone.logprobs(kept[-1], last)
    assert (now - last.extra[OLD])[kept_tokens].abs().max() > 1e-3


def test_a_checkpoint_finds_what_it_needs_and_what_came_later_is_made_again(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    def source(folder: str) -> StaleRollouts:
        made = rollouts(tokenizer, make_model(tokenizer), slow(0.002))
        return StaleRollouts(made, staleness=STALENESS, steps=STEPS, folder=tmp_path / folder)

    model = make_model(tokenizer)
    with source("straight") as straight:
        expected = trained(straight, model, range(STEPS))
    model = make_model(tokenizer)
    with source("killed") as killed:
        trained(killed, model, range(3))
        state, weights = killed.state(), copy.deepcopy(model)  # the checkpoint after three steps
        trained(killed, model, range(3, 5))  # and two that are lost
    with source("killed") as resumed:
        resumed.resume(state)
        model = copy.deepcopy(weights)
        for one, other in zip(trained(resumed, model, range(3, STEPS)), expected[3:], strict=True):
            assert same(one, other)
        model = copy.deepcopy(weights)  # a divergence goes back within one process, without a resume
        for one, other in zip(trained(resumed, model, range(3, STEPS)), expected[3:], strict=True):
            assert same(one, other)
        with pytest.raises(Refused, match="staleness was 1 and is 2"):
            resumed.resume(state | {"staleness": 1})
    with pytest.raises(ValueError, match="no batch ahead"):
        StaleRollouts(rollouts(tokenizer, model), staleness=0, steps=4, folder=tmp_path)


def test_with_adapters_the_reference_is_the_copy_without_them(tokenizer: Tokenizer, tmp_path: Path) -> None:
    model = make_model(tokenizer)
    add_lora(model, LoraConfig(rank=2), seed=0)
    start = make_model(tokenizer)
    made = rollouts(tokenizer, model)
    with StaleRollouts(made, staleness=1, steps=4, folder=tmp_path) as source:
        batches = trained(source, model, range(4))
    for batch in batches:
        kept = batch.weights != 0
        assert torch.allclose(made.logprobs(start, batch)[kept], batch.extra[REFERENCE][kept], atol=1e-5)


def steps_of(out: Path) -> int:
    file = out.with_name(out.name + ".partial") / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.is_file() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)


def test_grpo_killed_while_batches_were_under_way_ends_with_the_same_hash(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tokenizer.save(tmp_path / "tokenizer")
    save_model(make_model(tokenizer), tmp_path / "tokenizer", tmp_path / "model")
    write_jsonl(tmp_path / "examples" / "prompts.jsonl", items(20))
    (tmp_path / "grade.py").write_text("def grade(item, answer):\n    return len(answer) % 3\n")
    settings = {
        "steps": 14, "prompts": 4, "group": 4, "max_new": 6, "length": 48, "checkpoint_every": 3, "staleness": 2,
        "log_every": 1, "optimizer.lr": 0.02, "rewards.program": tmp_path / "grade.py",
    }  # fmt: skip

    def command(out: Path) -> list[str]:
        flags = [word for key, value in settings.items() for word in (f"--{key}", str(value))]
        places = [
            "--model",
            str(tmp_path / "model"),
            "--examples",
            str(tmp_path / "examples"),
            "--out",
            str(out),
        ]
        return [sys.executable, "-m", "exnihilo", "grpo", *places, *flags]

    straight, broken = tmp_path / "runs" / "straight", tmp_path / "runs" / "broken"
    subprocess.run(command(straight), check=True, capture_output=True)
    process = subprocess.Popen(command(broken), stderr=subprocess.PIPE)
    until = time.monotonic() + 60
    while steps_of(broken) < 8 and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = subprocess.run(command(broken), check=True, capture_output=True, text=True)
    assert "continuing at step" in done.stderr
    assert read_manifest(broken)["content"] == read_manifest(straight)["content"]
    figures = [json.loads(line) for line in (broken / "metrics.jsonl").read_text().splitlines()]
    told = {line["step"]: line["staleness"] for line in figures if "staleness" in line}
    assert told == {step: min(step - 1, 2) for step in range(1, 15)}
    assert any("sampler_gap_max" in line and "importance" in line for line in figures)
