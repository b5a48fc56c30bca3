"""Preference objectives on packed comparisons: golden numbers at the start, and answers read one by one."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch

from exnihilo.align.reference import WithReference
from exnihilo.examples.preferences import Pair
from exnihilo.model.adapters import add_lora
from exnihilo.model.decoder import Decoder
from exnihilo.model.lora_config import LoraConfig
from exnihilo.objectives import preference
from exnihilo.objectives.direct import DirectPreference, Variant, answer_logprobs
from exnihilo.tokens.batch import Batch
from exnihilo.tokens.comparisons import Comparison, ComparisonRows
from random_comparisons import CONFIG, END, make_comparisons

LN2 = math.log(2)
AT_THE_START = {
    "sigmoid": LN2, "robust": LN2, "hinge": 1.0, "ipo": 25.0, "ipo-mean": 25.0, "nca": 2 * LN2, "sppo": 50.0,
    "apo-zero": 1.0, "apo-down": 1.0,
}  # fmt: skip


def make_model(seed: int = 0) -> Decoder:
    torch.manual_seed(seed)
    model = Decoder(CONFIG).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def batch_with(reference: Decoder, certainty: float = 1.0, margin: float = 0.0) -> Batch:
    comparisons = make_comparisons()
    rows = ComparisonRows(comparisons, 1, 48, seed=0, pad=2)
    values = [float(alone(reference, ids, mask)[0]) for one in comparisons for ids, mask in one.answers]
    source = WithReference(rows, torch.tensor(values, dtype=torch.float64))
    source.reference = torch.tensor(values, dtype=torch.float64)
    batch = source.added(rows.pack(range(rows.rows_per_epoch)))
    batch.extra["certainty"] = torch.full_like(batch.extra["certainty"], certainty)
    return batch


def alone(model: Decoder, ids: list[int], mask: list[bool]) -> tuple[torch.Tensor, int]:
    """Log-probability of an answer, its end token among its tokens, read by itself; and how many tokens it has."""
    assert ids[-1] == END and mask[-1]
    tokens = torch.tensor([ids])
    logprobs = torch.log_softmax(model(tokens)[0, :-1], -1).gather(1, tokens[0, 1:, None])[:, 0]
    return logprobs[torch.tensor(mask[1:])].sum(), sum(mask)


@pytest.mark.parametrize("variant", AT_THE_START)
def test_dpo_1_values_where_policy_and_reference_agree(variant: Variant) -> None:
    """With dropout configured on: it belongs to the adapters, which add nothing yet."""
    model = make_model()
    batch = batch_with(model)
    add_lora(model.train(), LoraConfig(rank=2, dropout=0.5), seed=1)
    loss = DirectPreference(variant, beta=0.1)(model, batch)
    assert float(loss.total / loss.weight) == pytest.approx(AT_THE_START[variant], abs=1e-5)
    assert float(loss.metrics["reward_gap"]) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("variant", get_args(Variant))
def test_the_loss_is_that_of_answers_read_one_by_one(variant: Variant) -> None:
    policy, reference = make_model(), make_model(seed=1)
    objective = DirectPreference(variant, beta=0.3, margin=0.2 if variant == "simpo" else 0.0, nll=0.5)
    expected = torch.zeros((), dtype=torch.float64)
    for one in make_comparisons():
        found = [alone(policy, ids, mask) for ids, mask in one.answers]
        start = [float(alone(reference, ids, mask)[0]) for ids, mask in one.answers]
        for pair in one.pairs:
            (c, n), (r, m) = found[pair.better], found[pair.worse]
            ratios = c - start[pair.better], r - start[pair.worse]
            plain: dict[str, Any] = {
                "sigmoid": lambda a=ratios: preference.sigmoid(*a, 0.3),
                "hinge": lambda a=ratios: preference.hinge(*a, 0.3),
                "ipo": lambda a=ratios: preference.ipo(*a, 0.3),
                "ipo-mean": lambda a=ratios, n=n, m=m: preference.ipo(a[0] / n, a[1] / m, 0.3),
                "robust": lambda a=ratios: preference.robust(*a, 0.3, 0.0),
                "nca": lambda a=ratios: preference.nca(*a, 0.3),
                "sppo": lambda a=ratios: preference.sppo(*a, 0.3),
                "apo-zero": lambda a=ratios: preference.apo_zero(*a, 0.3),
                "apo-down": lambda a=ratios: preference.apo_down(*a, 0.3),
                "simpo": lambda c=c, r=r, n=n, m=m: preference.simpo(c / n, r / m, 0.3, 0.2),
                "orpo": lambda c=c, r=r, n=n, m=m: 0.3 * preference.orpo(c / n, r / m)[0],
            }
            nll = 0.5 + (variant == "orpo")
            expected = expected + (plain[variant]() - nll * c / n) / len(one.pairs)
    loss = objective(policy, batch_with(reference))
    assert float(loss.weight) == pytest.approx(7)
    assert torch.isclose(loss.total, expected, rtol=1e-5)
    gradients = [torch.autograd.grad(x, list(policy.parameters())) for x in (loss.total, expected)]
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, atol=1e-4 * float(b.abs().max() + 1))


def test_dpo_7_weights_are_of_pairs_and_not_of_tokens() -> None:
    """Four answers of twenty tokens, compared pair by pair: one weight a pair, and the loss is their average."""
    generator = torch.Generator().manual_seed(3)
    prompt, *texts = torch.randint(8, 64, (5, 20), generator=generator).tolist()
    answers = tuple(([*prompt[:4], *text[:-1], END], [False] * 4 + [True] * 20) for text in texts)
    pairs = (Pair(0, 1), Pair(0, 2), Pair(1, 3), Pair(3, 2))
    comparisons = [Comparison(answers, pairs), Comparison(answers[:2], pairs[:1])]
    policy, reference = make_model(), make_model(seed=1)
    found, start = ([float(alone(m, *answer)[0]) for answer in answers] for m in (policy, reference))
    values = [*start, *start[:2]]
    rows = ComparisonRows(comparisons, 1, 150, seed=0, pad=2)
    batch = WithReference(rows, torch.tensor(values)).added(rows.pack([0]))
    weights = batch.extra["pair_weight"]
    assert weights.shape == (1, 5) and sorted(weights[0].tolist()) == [0.25] * 4 + [1.0]
    ratios = torch.tensor(found) - torch.tensor(start)
    losses = [float(preference.ipo(ratios[p.better], ratios[p.worse], 0.1)) for p in pairs]
    loss = DirectPreference("ipo", beta=0.1)(policy, batch)
    assert loss.total.shape == () and float(loss.weight) == 2
    assert float(loss.total) == pytest.approx(sum(losses) / 4 + losses[0], rel=1e-4)


def test_certainty_is_cdpo_and_a_tie_pulls_to_neither_side() -> None:
    policy, reference = make_model(), make_model(seed=1)
    sure = batch_with(reference)
    unsure = batch_with(reference, certainty=0.9)
    by_share = DirectPreference(flipped=0.1)(policy, sure).total
    assert torch.isclose(DirectPreference()(policy, unsure).total, by_share)
    tie = DirectPreference()(reference, batch_with(reference, certainty=0.5)).total
    gradient = torch.autograd.grad(tie, list(reference.parameters()))
    assert max(float(g.abs().max()) for g in gradient) < 1e-4


def test_micro_batches_add_up_and_rows_without_pairs_do_no_harm() -> None:
    policy, batch = make_model(), batch_with(make_model(seed=1))
    objective = DirectPreference("nca")
    whole, parts = objective(policy, batch), [objective(policy, part) for part in batch.split(len(batch))]
    assert torch.isclose(sum((part.total for part in parts), torch.zeros(())).to(whole.total), whole.total)
    batch.extra["pair_weight"] = torch.zeros_like(batch.extra["pair_weight"])
    nothing = objective(policy, batch)
    assert float(nothing.weight) == 0 and float(nothing.total) == 0
    gradients = torch.autograd.grad(nothing.total, list(policy.parameters()))
    assert all(bool(torch.isfinite(g).all()) for g in gradients)


def test_log_probabilities_are_sums_of_the_answers_tokens() -> None:
    model, comparisons = make_model(), make_comparisons()
    rows = ComparisonRows(comparisons, 1, 48, seed=0, pad=2)
    sums, counts = answer_logprobs(model, rows.pack(range(rows.rows_per_epoch)))
    expected = [alone(model, ids, mask) for one in comparisons for ids, mask in one.answers]
    assert sorted(counts[counts > 0].tolist()) == sorted(float(n) for _, n in expected)
    found, wanted = (
        sums[counts > 0].sort().values,
        torch.stack([value for value, _ in expected]).sort().values,
    )
    assert torch.allclose(found.double(), wanted, atol=1e-5)
