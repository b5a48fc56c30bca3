"""The stages `reward` and `dpo` on preferences whose reason is known: a word that the better answer ends with."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from exnihilo.align.dpo import DPOConfig
from exnihilo.align.dpo import run as dpo
from exnihilo.align.preference_data import encode, read_and_part
from exnihilo.align.reference import reference_logprobs
from exnihilo.align.reward import RewardConfig
from exnihilo.align.reward import run as reward
from exnihilo.core.config import validate
from exnihilo.core.errors import ConfigError, ExnihiloError, Refused
from exnihilo.core.jsonl import read_jsonl, write_jsonl
from exnihilo.core.workspace import Workspace
from exnihilo.examples.preferences import preference_of
from exnihilo.model.folder import load_model, save_model
from exnihilo.model.scorer_folder import load_scorer
from exnihilo.objectives.direct import answer_logprobs
from exnihilo.report.run import read_json
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokenizer.template import Renderer
from exnihilo.tokenizer.tokenizer import Tokenizer
from exnihilo.tokens.comparisons import ComparisonRows
from random_decoder import random_decoder

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([" ".join(WORDS) + " please thanks. What is it? " * 4], 300)


def rows(count: int, *, shuffled: bool = False) -> list[dict[str, Any]]:
    """The better answer says "thanks" somewhere; both are of like length and of like words otherwise."""
    generator = random.Random(0)
    found = []
    for i in range(count):
        a, b = (generator.sample(WORDS, 4) for _ in range(2))
        a[generator.randrange(4)], b[generator.randrange(4)] = "thanks", "please"
        pair = [" ".join(a), " ".join(b)]
        if shuffled and generator.random() < 0.5:
            pair.reverse()
        found.append({"prompt": f"What is {i}?", "chosen": pair[0], "rejected": pair[1]})
    return found


@pytest.fixture
def start(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    tokenizer.save(tmp_path / "tokenizer")
    save_model(random_decoder(tokenizer.vocab_size), tmp_path / "tokenizer", tmp_path / "model")
    return tmp_path / "model"


def test_a_planted_preference_is_learned_and_said_so(
    start: Path, tmp_path: Path, workspace: Workspace
) -> None:
    write_jsonl(tmp_path / "train.jsonl", rows(240))
    config = RewardConfig(model="m", examples="e", rows=8, length=96, epochs=6, held_out=0.2)
    reward(config, {"model": start, "examples": tmp_path / "train.jsonl"}, workspace)
    card = read_json(workspace.path / "card.json")
    assert card["accuracy"]["value"] > 0.9 and 30 < card["pairs"] < 70
    # A bag of words knows it too, so that the model can't be shown to be better.
    assert card["baselines"]["a bag of words"]["accuracy"]["value"] > 0.9
    assert card["baselines"]["length"]["difference"]["low"] > 0
    assert not card["passed"] and card["verdict"].startswith("not shown to be better than a bag of words")
    model, own, scale = load_scorer(workspace.path)
    assert scale.aspects == ("reward",) and scale.spread[0] > 0
    renderer = Renderer(own)
    better, worse = (
        model(torch.tensor([encode(preference_of(row), renderer, 96, 64).answers[which][0]]))[0, -1]  # type: ignore[union-attr]
        for row in rows(1)
        for which in (0, 1)
    )
    assert better > worse
    steps = [
        line for _, line in read_jsonl(workspace.path / "metrics.jsonl") if "validation_accuracy" in line
    ]
    assert steps[-1]["validation_accuracy"] == pytest.approx(card["accuracy"]["value"])


def test_shuffled_labels_are_no_better_than_chance(start: Path, tmp_path: Path, workspace: Workspace) -> None:
    write_jsonl(tmp_path / "train.jsonl", rows(160, shuffled=True))
    config = RewardConfig(model="m", examples="e", rows=8, length=96, epochs=2, held_out=0.3)
    reward(config, {"model": start, "examples": tmp_path / "train.jsonl"}, workspace)
    card = read_json(workspace.path / "card.json")
    assert not card["passed"] and 0.3 < card["accuracy"]["value"] < 0.7


def test_aspects_have_heads_and_cards_of_their_own(start: Path, tmp_path: Path, workspace: Workspace) -> None:
    """The same answers, judged in two respects that contradict each other: one head could know only one of them."""
    kind = [{**row, "aspect": "kind"} for row in rows(240)]
    terse = [
        {**row, "chosen": row["rejected"], "rejected": row["chosen"], "aspect": "terse"} for row in rows(240)
    ]
    other = {**rows(1)[0], "aspect": "funny"}
    write_jsonl(tmp_path / "train.jsonl", [*kind, *terse, other, *rows(2)])
    config = RewardConfig(
        model="m", examples="e", rows=8, length=96, epochs=4, held_out=0.2, aspects=["kind", "terse"]
    )
    reward(config, {"model": start, "examples": tmp_path / "train.jsonl"}, workspace)
    card = read_json(workspace.path / "card.json")
    assert (
        card["aspects"].keys() == {"kind", "terse"} and card["verdict"].count("not shown to be better") == 2
    )
    assert all(one["accuracy"]["value"] > 0.9 for one in card["aspects"].values())
    assert card["aspects"]["kind"]["pairs"] == card["aspects"]["terse"]["pairs"]
    assert workspace.summary["left_out"] == {"aspect 'funny'": 1, "no aspect": 2}
    _, _, scale = load_scorer(workspace.path)
    assert scale.aspects == ("kind", "terse") and min(scale.spread) > 0


def test_one_aspect_of_a_file_of_several(start: Path, tmp_path: Path, workspace: Workspace) -> None:
    backwards = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows(120)]
    both = [{**row, "aspect": "a"} for row in rows(120)] + [{**row, "aspect": "b"} for row in backwards]
    write_jsonl(tmp_path / "train.jsonl", both)
    renderer = Renderer(Tokenizer.load(start))

    def read(*aspects: str) -> list[tuple[str, int]]:
        trained, kept = read_and_part(tmp_path / "train.jsonl", renderer, 96, 64, 0.2, workspace, aspects)
        found = [*trained.preferences, *kept.preferences]
        return [(str(one.meta["aspect"]), one.pairs[0].aspect) for one in found]

    assert set(read("b")) == {("b", 0)} and set(read("b", "a")) == {("b", 0), ("a", 1)}
    assert set(read()) == {("a", 0), ("b", 0)}
    told = (workspace.path.parent / "events.jsonl").read_text()
    assert "rows of several aspects (a, b) are learned as one" in told
    with pytest.raises(
        Refused, match=r"no preferences to train on with aspect 'c'; left out: 120 aspect 'b'"
    ):
        read("a", "c")
    with pytest.raises(ConfigError, match="'a' is named twice"):
        validate(RewardConfig, {"model": "m", "examples": "e", "aspects": ["a", "a"]}, where="reward")


def test_rm_3_no_prompt_is_on_both_sides_and_nothing_is_cut(
    tokenizer: Tokenizer, tmp_path: Path, workspace: Workspace
) -> None:
    many = [{**row, "prompt": f"What is {i % 40}?"} for i, row in enumerate(rows(200))]
    long = {"prompt": "What?", "chosen": " ".join(WORDS * 9), "rejected": "thanks"}
    write_jsonl(tmp_path / "train.jsonl", [*many, long, {"prompt": "What?", "chosen": "a", "rejected": "a"}])
    trained, kept = read_and_part(tmp_path / "train.jsonl", Renderer(tokenizer), 96, 64, 0.3, workspace)
    prompts = [{one.prompt[0].content for one in side.preferences} for side in (trained, kept)]
    assert not prompts[0] & prompts[1] and len(prompts[0]) + len(prompts[1]) == 40
    assert dict(trained.left_out) == {"too long": 1, "both answers are the same": 1}
    assert trained.told() == "1 too long (line 201), 1 both answers are the same (line 202)"
    end = tokenizer.end
    assert all(ids[-1] == end for one in trained.comparisons for ids, _ in one.answers)
    with pytest.raises(Refused, match=r"left out: 201 too long \(line 1 first\)"):
        read_and_part(
            tmp_path / "train.jsonl", Renderer(tokenizer), 96, 8, 0.3, workspace
        )  # context, not row
    with pytest.raises(Refused, match=r"no preferences to train on; left out: 1 too long"):
        write_jsonl(tmp_path / "bad.jsonl", [long])
        read_and_part(tmp_path / "bad.jsonl", Renderer(tokenizer), 96, 64, 0.3, workspace)


def test_dpo_4_it_raises_what_is_preferred_and_tells_both(
    start: Path, tmp_path: Path, workspace: Workspace
) -> None:
    write_jsonl(tmp_path / "train.jsonl", rows(160))
    config = DPOConfig(
        model="m",
        examples="e",
        rows=8,
        length=96,
        epochs=3,
        held_out=0.2,
        log_every=1,
        optimizer={"lr": 0.01, "lr_embedding": 0.005},
    )
    dpo(config, {"model": start, "examples": tmp_path / "train.jsonl"}, workspace)
    lines = [line for _, line in read_jsonl(workspace.path / "metrics.jsonl")]
    first = next(line for line in lines if "loss" in line)
    assert first["loss"] == pytest.approx(0.693147, abs=1e-4), "at the first step policy and reference agree"
    validated = [line for line in lines if "validation_accuracy" in line]
    assert validated[-1]["validation_accuracy"] > 0.9
    assert {"validation_chosen_logprob", "validation_rejected_logprob"} <= validated[-1].keys()
    assert {"chosen_logprob", "rejected_logprob", "reward_gap"} <= first.keys()
    load_model(workspace.path)


def test_dpo_3_the_reference_is_kept_only_for_what_it_was_computed_for(
    start: Path, tokenizer: Tokenizer, tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import exnihilo.align.reference as module

    model, renderer = load_model(start), Renderer(tokenizer)
    comparisons = [encode(preference_of(row), renderer, 96, 64) for row in rows(12)]
    calls: list[int] = []
    compute = module.logprobs_by_answer

    def counted(*given: Any) -> dict[int, float]:
        calls.append(1)
        if len(calls) == limit:
            raise KeyboardInterrupt
        return compute(*given)

    monkeypatch.setattr(module, "logprobs_by_answer", counted)

    def run(key: str = "k", length: int = 96) -> torch.Tensor:
        calls.clear()
        return reference_logprobs(
            model, comparisons, model_hash=key, rows=2, length=length, pad=tokenizer.pad,  # type: ignore[arg-type]
            dtype=torch.float32, folder=tmp_path / "cache", work=workspace,
        )  # fmt: skip

    limit = 3  # killed in the middle
    with pytest.raises(KeyboardInterrupt):
        run()
    limit = 0
    found = run()
    whole = len(calls)
    assert torch.isfinite(found).all()
    batch = ComparisonRows(comparisons, 1, 96, 0, pad=tokenizer.pad)  # type: ignore[arg-type]
    count = batch.rows_per_epoch
    with torch.no_grad():
        sums, _ = answer_logprobs(model, batch.pack(range(count)))
    assert sorted(round(x, 3) for x in found.tolist()) == sorted(
        round(x, 3) for x in sums[sums != 0].tolist()
    )
    assert torch.equal(run(), found) and len(calls) == 1, (
        "kept, but for the batch that is computed to compare"
    )
    run(length=100)
    assert len(calls) > 1, "another row length is a miss"
    run("other")
    assert len(calls) > 1 and whole > 1
    comparisons[-1] = encode(preference_of(rows(13)[12]), renderer, 96, 64)
    run("other")
    assert len(calls) > 1, "and so is another answer in the place of one"
    with torch.no_grad():
        model.embedding.weight.mul_(1.5)
    with pytest.raises(ExnihiloError, match="nats a token off"):
        run("other", 96)


def test_contradictions() -> None:
    def check(**more: Any) -> None:
        validate(DPOConfig, {"model": "m", "examples": "e", **more}, where="dpo")

    for given, reason in (
        ({"flipped": 0.1, "variant": "ipo"}, "takes no share of wrong labels"),
        ({"margin": 0.5}, "sigmoid has none"),
        ({"steps": 3, "epochs": 1}, "give one"),
    ):
        with pytest.raises(ConfigError, match=reason):
            check(**given)
    check(variant="simpo", margin=0.5)
