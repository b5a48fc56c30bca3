"""KTO: answers judged one by one, and a point of reference that belongs to a whole batch."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from exnihilo.align.dpo import DPOConfig, run
from exnihilo.align.mismatched import WithDivergence, mismatched
from exnihilo.align.reference import WithReference
from exnihilo.core.config import validate
from exnihilo.core.errors import ConfigError, Interrupted, Refused
from exnihilo.core.jsonl import read_jsonl, write_jsonl
from exnihilo.core.workspace import Workspace
from exnihilo.examples.preferences import Pair
from exnihilo.model.adapters import adapters_of, add_lora
from exnihilo.model.folder import save_model
from exnihilo.model.lora_config import LoraConfig
from exnihilo.objectives import preference
from exnihilo.objectives.labelled import DIVERGENCE, LabelledAnswers
from exnihilo.tokenizer.bpe import train_tokenizer
from exnihilo.tokens.batch import Batch
from exnihilo.tokens.comparisons import Comparison, ComparisonRows
from random_comparisons import make_comparisons
from random_decoder import random_decoder
from stopped_runs import workspace_until

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def answers() -> list[Comparison]:
    """Rankings of two to four answers with certainties, and answers with labels."""
    ranked = make_comparisons()
    single = [Comparison(one.answers[:1], (), label=i % 3 == 0) for i, one in enumerate(make_comparisons(12))]
    return [*ranked, *single[7:]]


def alone(model: torch.nn.Module, ids: list[int], mask: list[bool]) -> torch.Tensor:
    tokens = torch.tensor([ids])
    logprobs = torch.log_softmax(model(tokens)[0, :-1], -1).gather(1, tokens[0, 1:, None])[:, 0]
    return logprobs[torch.tensor(mask[1:])].sum()


def source_of(model: torch.nn.Module, comparisons: list[Comparison], rows: int = 4) -> WithReference:
    with torch.no_grad():
        values = torch.stack([alone(model, *answer) for one in comparisons for answer in one.answers])
    return WithReference(ComparisonRows(comparisons, rows, 64, seed=0, pad=2), values)


def make_model(seed: int) -> Any:
    return random_decoder(64, seed=seed, noise=0.2)


def test_dpo_5_the_point_of_reference_is_the_mean_over_answers_to_other_prompts() -> None:
    """It is computed as in evaluation, and the mode of the model is left as it was."""
    policy, reference = make_model(0), make_model(1)
    others = mismatched(answers(), 64, seed=0)
    with torch.no_grad():
        one_by_one = [
            float(alone(policy, *answer) - alone(reference, *answer)) for o in others for answer in o.answers
        ]
    source = WithDivergence(
        source_of(reference, answers()), source_of(reference, others, rows=50), torch.float32
    )
    found = source.next(0, policy.train()).extra[DIVERGENCE]
    assert len(one_by_one) == len(answers()) and abs(sum(one_by_one)) > 1
    assert found.tolist() == pytest.approx([sum(one_by_one) / len(one_by_one)] * 4, abs=1e-4)
    assert policy.training
    add_lora(policy, LoraConfig(rank=2, dropout=0.5), seed=1)
    with torch.no_grad():
        for adapter in adapters_of(policy).values():
            adapter.B.normal_(std=0.3)
    again = [source.next(0, policy).extra[DIVERGENCE] for _ in range(2)]
    assert torch.equal(*again) and not torch.equal(again[0], found)


def test_a_prompt_is_put_with_another_prompts_answer() -> None:
    many = answers() * 2  # prompts twice, and seven of twelve of them with several answers
    prompts = [one.answers[0][0][:4] for one in many]
    given = {tuple(ids[4:]): ids[:4] for one in many for ids, _ in one.answers}
    found = mismatched(many, 64, seed=0)
    assert sorted(one.answers[0][0][:4] for one in found) == sorted(prompts), "each prompt once"
    for one in found:
        ((ids, mask),) = one.answers
        assert given[tuple(ids[4:])] != ids[:4] and mask == [False] * 4 + [True] * (len(ids) - 4)
    assert found == mismatched(many, 64, seed=0) != mismatched(many, 64, seed=1)
    assert all(one.size <= 9 for one in mismatched(many, 9, seed=0)) and len(mismatched(many, 9, seed=0)) < 24
    # Where most prompts are one, only as many of them find another answer as there are others.
    same = [Comparison(answers()[0].answers, (Pair(0, 1),))] * 9
    assert mismatched(same, 64, seed=0) == [] and 2 <= len(mismatched([*same, answers()[1]], 64, 0)) <= 4


def with_divergence(reference: torch.nn.Module, divergence: float) -> Batch:
    source = source_of(reference, answers(), rows=100)
    batch = source.added(source.source.pack(range(source.source.rows_per_epoch)))
    counts = [float(batch.extra[kind].sum()) for kind in ("desirable", "undesirable")]
    batch.extra |= {
        DIVERGENCE: torch.full((len(batch),), divergence),
        "kinds": torch.tensor([counts] * len(batch)),
    }
    return batch


@pytest.mark.parametrize("divergence", [1.5, -2.0])
def test_the_loss_is_that_of_answers_read_one_by_one(divergence: float) -> None:
    policy, reference = make_model(0), make_model(1)
    expected, count, sums = torch.zeros(()), 0.0, {True: 0.0, False: 0.0}
    for one in answers():
        judged = [(0, one.label, 1.0)] if one.label is not None else []
        for pair in one.pairs:
            for which, share in ((pair.better, pair.certainty), (pair.worse, 1 - pair.certainty)):
                judged += [
                    (which, True, share / len(one.pairs)),
                    (which, False, (1 - share) / len(one.pairs)),
                ]
        for which, kind, weight in judged:
            found = alone(policy, *one.answers[which])
            ratio = found - alone(reference, *one.answers[which]).detach()
            loss = preference.kto(ratio, torch.tensor(kind), divergence, 0.3)
            expected = expected + weight * (1.7 if kind else 1.0) * loss
            count, sums[kind] = count + weight, sums[kind] + weight * float(found.detach())
    batch = with_divergence(reference, divergence)
    objective = LabelledAnswers(beta=0.3, desirable=1.7)
    loss = objective(policy, batch)
    assert count == pytest.approx(7 * 2 + 5) and float(loss.weight) == pytest.approx(count)
    assert torch.isclose(loss.total, expected, rtol=1e-5)
    gradients = [torch.autograd.grad(x, list(policy.parameters())) for x in (loss.total, expected)]
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, atol=1e-4 * float(b.abs().max() + 1))
    # dpo-4: both kinds are told apart, as means over their own.
    desirable = 7 + sum(one.label is True for one in answers())
    means = {name: float(value / loss.weight) for name, value in loss.metrics.items()}
    assert means["chosen_logprob"] == pytest.approx(sums[True] / desirable, rel=1e-4)
    assert means["rejected_logprob"] == pytest.approx(sums[False] / (count - desirable), rel=1e-4)
    assert means["divergence"] == pytest.approx(divergence) and 0 <= means["accuracy"] <= 1
    # dpo-5: nothing depends on how many rows are read at once.
    parts = [objective(policy, part) for part in batch.split(len(batch))]
    assert torch.isclose(sum((part.total for part in parts), torch.zeros(())), loss.total, rtol=1e-5)
    for name, whole in loss.metrics.items():
        assert torch.isclose(sum((part.metrics[name] for part in parts), torch.zeros(())), whole, rtol=1e-4)


def test_dpo_1_it_begins_at_a_half_and_every_answer_half_right() -> None:
    model = make_model(0)
    with torch.no_grad():
        loss = LabelledAnswers()(model, with_divergence(model, 0.0))
    assert float(loss.total / loss.weight) == pytest.approx(0.5, abs=1e-5)
    assert float(loss.metrics["reward_gap"]) == pytest.approx(0, abs=1e-4)


def rows(count: int, *, labelled: bool) -> list[dict[str, Any]]:
    """Desirable answers say "thanks" somewhere, others "please"; one of three is desirable, unless in pairs."""
    generator = random.Random(0)
    found = []
    for i in range(count):
        texts = []
        for word in ("thanks", "please"):
            words = generator.sample(WORDS, 4)
            words[generator.randrange(4)] = word
            texts.append(" ".join(words))
        row: dict[str, Any] = {"prompt": f"What is {i}?"}
        pair = {"chosen": texts[0], "rejected": texts[1]}
        found.append(row | ({"completion": texts[i % 3 > 0], "label": i % 3 == 0} if labelled else pair))
    return found


Train = Callable[..., Workspace]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Runs the stage on rows; what is held out is a share of them, or validation.jsonl."""
    tokenizer = train_tokenizer([" ".join(WORDS) + " please thanks. What is it? " * 4], 300)
    tokenizer.save(tmp_path / "tokenizer")
    save_model(random_decoder(tokenizer.vocab_size), tmp_path / "tokenizer", tmp_path / "model")

    def go(
        examples: list[dict[str, Any]], out: str = "a", stop_at: int | None = None, **changes: Any
    ) -> Workspace:
        write_jsonl(tmp_path / "train.jsonl", examples)
        given: dict[str, Any] = {
            "variant": "kto",
            "rows": 8,
            "length": 96,
            "log_every": 1,
            "validate_every": 0,
        }
        given |= {"optimizer": {"lr": 0.01, "lr_embedding": 0.005}}
        work = workspace_until(tmp_path / out, stop_at)
        config = DPOConfig(model="m", examples="e", **(given | changes))
        run(config, {"model": tmp_path / "model", "examples": tmp_path}, work)
        return work

    return go


def lines_of(work: Workspace, name: str = "loss") -> list[dict[str, Any]]:
    return [line for _, line in read_jsonl(work.path / "metrics.jsonl") if name in line]


@pytest.mark.parametrize("labelled", [True, False], ids=["labels", "pairs"])
def test_a_planted_preference_is_learned(labelled: bool, train: Train) -> None:
    work = train(rows(240, labelled=labelled), epochs=6 if labelled else 3, held_out=0.2)
    first, last = lines_of(work)[0], lines_of(work, "validation_accuracy")[-1]
    assert first["divergence"] == pytest.approx(0, abs=1e-4) and lines_of(work)[-1]["divergence"] != 0
    assert last["validation_accuracy"] > 0.9 and last["validation_reward_gap"] > 0
    assert last["validation_chosen_logprob"] > last["validation_rejected_logprob"]
    if labelled:
        up, down = (int(word) for word in work.lines[0].split() if word.isdigit())
        # The rarer kind counts so much that both count alike: without it the first loss would be 1/2.
        assert work.lines[0].endswith(f"counts {down / up:.3g} times as much") and 1.6 < down / up < 2.4
    else:
        assert first["loss"] == pytest.approx(0.5, abs=1e-4)
        assert work.lines[0].endswith("a desirable one counts 1 times as much")


def test_dpo_5_rows_read_at_once_change_no_loss_and_a_stopped_run_goes_on_to_the_same_weights(
    train: Train,
) -> None:
    given = {"steps": 6, "checkpoint_every": 2}
    whole = train(rows(60, labelled=True), **given)
    by_row = train(rows(60, labelled=True), "by_row", micro_rows=1, **given)
    for a, b in zip(lines_of(whole), lines_of(by_row), strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-4)
        assert a["divergence"] == pytest.approx(b["divergence"], abs=1e-3)
    assert abs(lines_of(whole)[-1]["divergence"]) > 0.01
    with pytest.raises(Interrupted):
        train(rows(60, labelled=True), "stopped", stop_at=3, **given)
    stopped = train(rows(60, labelled=True), "stopped", **given)
    assert (stopped.path / "model.safetensors").read_bytes() == (
        whole.path / "model.safetensors"
    ).read_bytes()


def test_what_kto_can_not_learn_from(train: Train, tmp_path: Path) -> None:
    same = [row | {"prompt": "What?"} for row in rows(9, labelled=True)]
    with pytest.raises(Refused, match=r"has none; give prompts that differ"):
        train(same, steps=1)
    with pytest.raises(
        Refused, match=r"left out: 9 labelled by themselves, which dpo with variant kto learns"
    ):
        train(same, steps=1, variant="sigmoid")
    write_jsonl(tmp_path / "validation.jsonl", same)
    work = train(
        rows(9, labelled=True), steps=1
    )  # what is held out may be of one prompt: then nothing is validated
    assert lines_of(work) and not lines_of(work, "validation_loss")
    for given, reason in (
        ({"variant": "kto", "nll": 0.1}, "kto has no pairs"),
        ({"variant": "ipo", "desirable_weight": 2}, "ipo weighs pairs"),
        ({"variant": "kto", "flipped": 0.1}, "takes no share of wrong labels"),
        ({"variant": "bto"}, "kto"),
    ):
        with pytest.raises(ConfigError, match=reason):
            validate(DPOConfig, {"model": "m", "examples": "e", **given}, where="dpo")
