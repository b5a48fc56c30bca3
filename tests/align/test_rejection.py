"""The best of n answers: closed forms, what is kept, and a killed run that goes on."""

from __future__ import annotations

import itertools
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from exnihilo.align.best_of_n import divergence, expected_best, expected_picked
from exnihilo.align.rejection import STAGE, RejectionConfig, _pairs
from exnihilo.core.artifact import Artifact
from exnihilo.core.build import build
from exnihilo.core.config import validate
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.jsonl import read_jsonl, write_jsonl
from exnihilo.examples.preferences import read_preferences
from exnihilo.model.folder import save_model
from exnihilo.tokenizer.bpe import train_tokenizer
from random_decoder import random_decoder


def test_the_expected_best_is_the_mean_over_all_subsets() -> None:
    rewards = [0.3, -1.0, 2.0, 0.3, 5.0, 1.0]
    for n in range(1, 7):
        best = [max(subset) for subset in itertools.combinations(rewards, n)]
        assert expected_best(rewards, n) == pytest.approx(sum(best) / len(best))
    with pytest.raises(ValueError, match="at least 7"):
        expected_best(rewards, 7)


def test_what_is_picked_by_one_reward_and_worth_by_another_is_the_mean_over_all_subsets() -> None:
    """Of answers that the first reward likes alike, each is picked as often."""
    rewards, worth = [0.3, -1.0, 2.0, 0.3, 5.0, 2.0, 2.0], [1.0, 7.0, -2.0, 4.0, 0.5, 3.0, 8.0]
    for n in range(1, 8):
        picked = []
        for subset in itertools.combinations(range(7), n):
            best = max(rewards[i] for i in subset)
            equal = [worth[i] for i in subset if rewards[i] == best]
            picked.append(sum(equal) / len(equal))
        assert expected_picked(rewards, worth, n) == pytest.approx(sum(picked) / len(picked))
    many = [random.Random(1).random() for _ in range(4096)]
    assert expected_picked(many, many, 2048) == pytest.approx(max(many), abs=1e-3)
    with pytest.raises(ValueError, match="shorter"):
        expected_picked(rewards, worth[:-1], 2)


def test_dpo_8_the_divergence_is_that_of_a_policy_over_a_line() -> None:
    """Golden values, and of n uniform numbers the largest has density n xⁿ⁻¹: KL = ∫ n xⁿ⁻¹ log(n xⁿ⁻¹) dx."""
    golden = {2: 0.193147, 4: 0.636294, 8: 1.204442, 16: 1.835089, 64: 3.174508}
    assert all(divergence(n) == pytest.approx(value, abs=1e-6) for n, value in golden.items())
    rng = random.Random(0)
    for n in (1, 2, 8, 64):
        drawn = [max(rng.random() for _ in range(n)) for _ in range(4000)]
        mean = sum(math.log(n) + (n - 1) * math.log(x) for x in drawn) / len(drawn)
        assert divergence(n) == pytest.approx(mean, abs=0.05)


def world(folder: Path, count: int = 40) -> dict[str, Path]:
    tokenizer = train_tokenizer(["the quick brown fox"] * 3, 264)
    tokenizer.save(folder / "tokenizer")
    model = random_decoder(tokenizer.vocab_size, noise=0.3)
    with torch.no_grad():
        model.embedding.weight[tokenizer.end] *= 3  # answers that end are then not rare
    save_model(model, folder / "tokenizer", folder / "model")
    items = [
        {
            "family": "e",
            "messages": [{"role": "user", "content": f"{n}?"}],
            "verifier": {"kind": "regex", "value": "[a-m]"},
        }
        for n in range(count)
    ]
    write_jsonl(folder / "questions" / "prompts.jsonl", items)
    return {"model": folder / "model", "examples": folder / "questions"}


def sample(folder: Path, out: str, **config: object) -> Artifact:
    given = RejectionConfig(model="m", examples="e", samples=6, max_new=10, **config)  # type: ignore[arg-type]
    inputs = {"model": folder / "model", "examples": folder / "questions"}
    return build(STAGE, given, inputs, folder / out, seed=1)


def test_the_best_is_right_ended_and_shortest(tmp_path: Path) -> None:
    world(tmp_path)
    made = sample(tmp_path, "round")
    rows = [row for _, row in read_jsonl(made.path / "answers.jsonl.gz")]
    kept = [row for _, row in read_jsonl(made.path / "train.jsonl")]
    assert len(rows) == 240 and 0 < len(kept) < 40
    for begin in range(0, 240, 6):
        group = rows[begin : begin + 6]
        best = [row for row in group if row["best"]]
        ended = [row for row in group if row["ended"]]
        assert len(best) == bool(ended)
        if best:
            assert best[0]["ended"] and best[0]["reward"] == max(row["reward"] for row in ended)
    assert all(any("a" <= c <= "m" for c in row["messages"][-1]["content"]) for row in kept)
    pairs = [row.preference for row in read_preferences(made.path / "preferences.jsonl")]
    rewards = {(row["messages"][0]["content"], row["answer"]): row["reward"] for row in rows}
    assert pairs and None not in pairs
    for pair in pairs:
        asked, chosen, rejected = (part[0].content for part in (pair.prompt, *pair.answers))
        assert rewards[asked, chosen] > rewards[asked, rejected]
    figures = made.manifest["metrics"]
    assert figures["best_of_1"] < figures["best_of_2"] < figures["best_of_4"] <= 1.0


def test_earlier_rounds_come_along_and_the_seed_decides(tmp_path: Path) -> None:
    world(tmp_path)
    first, again = sample(tmp_path, "a", questions=10), sample(tmp_path, "b", questions=10)
    assert first.content == again.content
    given = RejectionConfig(model="m", examples="e", samples=6, max_new=10, earlier=["a"])
    inputs = {"model": tmp_path / "model", "examples": tmp_path / "questions", "earlier": {"a": first.path}}
    both = build(STAGE, given, inputs, tmp_path / "c", seed=2)
    old = [json.dumps(row) for _, row in read_jsonl(first.path / "train.jsonl")]
    new = [json.dumps(row) for _, row in read_jsonl(both.path / "train.jsonl")]
    assert new[-len(old) :] == old and len(new) == len(old) + both.manifest["metrics"]["kept"]


def test_where_no_answer_is_good_nothing_is_written(tmp_path: Path) -> None:
    world(tmp_path, 4)
    with pytest.raises(Refused, match="none of 24 answers has a reward above 1; sample more"):
        sample(tmp_path, "round", at_least=1.0)
    assert not (tmp_path / "round").exists()


def test_dpo_8_of_answers_that_are_all_as_good_none_is_preferred_and_none_is_lost(tmp_path: Path) -> None:
    world(tmp_path, 10)
    for _, item in (rows := list(read_jsonl(tmp_path / "questions" / "prompts.jsonl"))):
        item["verifier"]["value"] = ""  # matches anything
    write_jsonl(tmp_path / "questions" / "prompts.jsonl", [item for _, item in rows])
    made = sample(tmp_path, "round")
    assert len(list(read_jsonl(made.path / "answers.jsonl.gz"))) == 60
    assert (made.path / "preferences.jsonl").read_bytes() == b"" and made.manifest["metrics"]["pairs"] == 0


def test_the_best_is_the_best_of_what_the_config_rewards(tmp_path: Path) -> None:
    world(tmp_path, 20)
    program = tmp_path / "grade.py"
    program.write_text("def grade(item, answer):\n    return None if 'q' in answer else -answer.count('e')\n")
    rewards = {"program": str(program), "weights": {"correct": 0.5}}
    made = sample(tmp_path, "round", at_least=-9.0, rewards=rewards)
    rows = [row for _, row in read_jsonl(made.path / "answers.jsonl.gz")]
    for row in rows:
        right = 0.5 * any("a" <= c <= "m" for c in row["answer"])
        assert row["reward"] == (None if "q" in row["answer"] else right - row["answer"].count("e"))
        assert not (row["best"] and "q" in row["answer"])
    assert made.manifest["lines"][-1].startswith("program: no reward for ")
    with pytest.raises(ConfigError, match=r"rewards.whiten: answers to a question are compared"):
        validate(
            RejectionConfig, {"model": "m", "examples": "e", "rewards": {"whiten": True}}, where="rejection"
        )


def test_pairs_of_a_question_differ_and_a_share_of_labels_is_swapped() -> None:
    def group(n: int) -> list[dict[str, Any]]:
        row = {"family": "e", "messages": [{"role": "user", "content": f"{n}?"}], "ended": True}
        return [row | {"answer": f"{i // 2}", "reward": float(i < 4)} for i in range(10)]

    def config(**given: Any) -> RejectionConfig:
        return RejectionConfig(model="m", examples="e", pairs=4, **given)

    def pairs(flipped: float) -> list[tuple[str, str]]:
        drawn = [pair for n in range(200) for pair in _pairs(group(n), config(flipped=flipped), seed=n)]
        return [(pair["chosen"], pair["rejected"]) for pair in drawn]

    straight, noisy = pairs(0.0), pairs(0.3)
    # Of five answers that differ two are right: six pairs, of which four are drawn.
    assert len(straight) == 800 and all(len(set(straight[i : i + 4])) == 4 for i in range(0, 800, 4))
    assert set(straight) == set(itertools.product("01", "234"))
    swapped = [a == b[::-1] for a, b in zip(straight, noisy, strict=True)]
    assert sum(swapped) / len(swapped) == pytest.approx(0.3, abs=0.05)
    # What is not swapped is the same pair.
    assert all(a in (b, b[::-1]) for a, b in zip(straight, noisy, strict=True))
    # A question whose answers are all as good has none.
    assert _pairs([row | {"reward": 1.0} for row in group(0)], config(), seed=0) == []
    # In which respect they are better is written where it is said.
    assert all("aspect" not in pair for pair in _pairs(group(0), config(), seed=0))
    assert all(pair["aspect"] == "safety" for pair in _pairs(group(0), config(aspect="safety"), seed=0))
