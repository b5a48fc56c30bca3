"""Worlds that are planted to go wrong: each is caught and named in plain words, and none harms the model."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from endpoint_server import completion
from exnihilo.align import grpo, ppo, reward
from exnihilo.core.config import validate
from exnihilo.core.errors import Refused
from exnihilo.core.events import EventLog
from exnihilo.core.jsonl import read_jsonl, write_jsonl
from exnihilo.core.stage import Stage
from exnihilo.core.workspace import Workspace
from exnihilo.model.folder import load_model, save_model
from exnihilo.tokenizer.bpe import train_tokenizer
from random_rollouts import items, make_model

SIZES = {"max_new": 24, "length": 64, "steps": 3}
PPO = {"prompts": 96, "parts": 1, "epochs": 1, **SIZES}
GRPO = {"prompts": 24, "group": 4, **SIZES}
STAGES = [pytest.param(ppo.STAGE, PPO, id="ppo"), pytest.param(grpo.STAGE, GRPO, id="grpo")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    tokenizer = train_tokenizer(["What is one plus one? It is two. Yes. No. " * 4], 280)
    tokenizer.save(folder / "tokenizer")
    save_model(make_model(tokenizer), folder / "tokenizer", folder / "model")
    write_jsonl(folder / "examples" / "prompts.jsonl", items(40))
    generator, pairs = random.Random(0), []
    for n in range(160):
        pair = ["It is one.", "It is two."]
        generator.shuffle(pair)
        pairs.append({"prompt": f"What is {n}?", "chosen": pair[0], "rejected": pair[1]})
    write_jsonl(folder / "shuffled.jsonl", pairs)
    return folder


Run = Callable[..., Workspace]


@pytest.fixture
def run(world: Path, tmp_path: Path) -> Run:
    def go(stage: Stage, values: dict[str, Any], out: str = "out", **inputs: Path) -> Workspace:
        work = Workspace(tmp_path / f"{out}.partial", seed=1, stage=out, log=EventLog(tmp_path))
        named = {"model": world / "model", "examples": world / "examples"} | inputs
        config = validate(stage.config, {**dict.fromkeys(named, "x"), **values}, where=stage.verb)
        stage.run(config, named, work)
        return work

    return go


def figures(work: Workspace, name: str) -> list[float]:
    return [line[name] for _, line in read_jsonl(work.path / "metrics.jsonl") if name in line]


def is_whole(work: Workspace) -> bool:
    return all(bool(torch.isfinite(one).all()) for one in load_model(work.path).parameters())


@pytest.mark.parametrize(("stage", "settings"), STAGES)
@pytest.mark.parametrize(
    ("pays", "named"),
    [
        (
            "len(answer)",
            "it pays for length: of two answers that are paid differently the longer gets more in",
        ),
        (
            "float('is' in re.findall(r'\\w+', answer.lower()))",
            "it pays for words: answers with 'is' get more than those without in",
        ),
    ],
    ids=["length", "marker"],
)
def test_a_reward_with_a_loophole_is_named(
    run: Run, world: Path, tmp_path: Path, stage: Stage, settings: dict[str, Any], pays: str, named: str
) -> None:
    program = tmp_path / "grade.py"
    program.write_text(f"import re\ndef grade(item, answer):\n    return {pays}\n")
    work = run(stage, {**settings, "rewards": {"program": str(program)}})
    told = [row["message"] for _, row in read_jsonl(tmp_path / "events.jsonl") if row["event"] == "loophole"]
    assert len(told) == 1 and told[0].startswith(f"program: {named}"), told
    assert is_whole(work)


@pytest.mark.parametrize(("stage", "settings"), STAGES)
def test_a_reward_model_of_shuffled_labels_is_refused_unless_forced(
    run: Run, world: Path, tmp_path: Path, stage: Stage, settings: dict[str, Any]
) -> None:
    training = {"rows": 8, "length": 64, "epochs": 1, "held_out": 0.3}
    made = run(reward.STAGE, training, "scores", examples=world / "shuffled.jsonl")
    with pytest.raises(
        Refused, match=r"not fit to be maximised: no better than chance: .* give --force_reward true"
    ):
        run(stage, settings, "refused", reward=made.path)
    assert not (tmp_path / "refused.partial" / "model.safetensors").exists()
    forced = run(stage, {**settings, "steps": 1, "force_reward": True}, "forced", reward=made.path)
    assert is_whole(forced)


BROKEN = {"kind": "constraints", "value": '{"instruction_id_list": ["keywords:existence"], "kwargs": [{}]}'}
"""A verifier that looks whole, and fails on every answer that says anything: it does not say which keywords."""


def broken_items(world: Path, folder: Path, count: int) -> Path:
    rows = [{**item, "verifier": BROKEN} if n < count else item for n, item in enumerate(items(40))]
    write_jsonl(folder / "prompts.jsonl", rows)
    return folder


@pytest.mark.parametrize(("stage", "settings"), STAGES)
def test_a_verifier_that_crashes_on_a_twentieth_costs_those_answers_only(
    run: Run, world: Path, tmp_path: Path, stage: Stage, settings: dict[str, Any]
) -> None:
    work = run(stage, settings, examples=broken_items(world, tmp_path / "some", 2))
    assert sum(figures(work, "unscorable")) / 3 == pytest.approx(0.05, abs=0.02)
    assert re.fullmatch(
        r"correct: no reward for 1\d of 288 answers \(KeyError: 'keywords'\), which were left out",
        work.lines[-1],
    )
    assert is_whole(work)


@pytest.mark.parametrize(("stage", "settings"), STAGES)
def test_a_verifier_that_crashes_on_most_stops_the_stage(
    run: Run, world: Path, tmp_path: Path, stage: Stage, settings: dict[str, Any]
) -> None:
    with pytest.raises(
        Refused, match=r"correct: no reward for \d\d of 96 answers \(KeyError: 'keywords'\); mend"
    ):
        run(stage, settings, examples=broken_items(world, tmp_path / "most", 30))
    assert not (tmp_path / "out.partial" / "model.safetensors").exists()


@pytest.mark.parametrize(("stage", "settings"), STAGES)
def test_a_judge_that_answers_nonsense_is_named_and_its_silence_is_no_zero(
    run: Run, tmp_path: Path, serve: Any, stage: Stage, settings: dict[str, Any]
) -> None:
    server = serve(lambda question, times: completion("I like turtles"))
    judged = {**settings, "rewards": {"endpoint": {"url": server.url, "model": "turtle"}}}
    with pytest.raises(
        Refused, match=r"grade: no reward for 96 of 96 answers \(it said 'I like turtles'\); mend"
    ):
        run(stage, judged)
    assert not (tmp_path / "out.partial" / "model.safetensors").exists()
    assert not (tmp_path / "out.partial" / "metrics.jsonl").exists(), "nothing was learned from"
