"""The reward objective on packed comparisons: scores where they belong, pairs that weigh what they should."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from exnihilo.examples.preferences import Pair
from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder
from exnihilo.model.scorer import Scorer
from exnihilo.objectives.comparison import pairwise
from exnihilo.objectives.reward import RewardComparisons, pair_scores
from exnihilo.objectives.segments import segment_ends, segment_sums
from exnihilo.tokens.batch import Batch
from exnihilo.tokens.comparisons import Comparison, ComparisonRows
from random_comparisons import CONFIG, END, make_comparisons


def make_model(aspects: int = 1) -> Scorer:
    torch.manual_seed(0)
    model = Scorer(Decoder(CONFIG), aspects).double()
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def packed(comparisons: list[Comparison], length: int = 48) -> Batch:
    rows = ComparisonRows(comparisons, 1, length, seed=0, pad=2)
    return rows.pack(range(rows.rows_per_epoch))


def alone(model: Scorer, ids: list[int], left: int = 0, right: int = 0) -> torch.Tensor:
    """The scores of one answer read by itself, with padding around it."""
    tokens = torch.tensor([[2] * left + ids + [2] * right])
    segments = torch.tensor([[-1] * left + [0] * len(ids) + [-1] * right])
    positions = torch.tensor([[0] * left + list(range(len(ids))) + [0] * right])
    return model.at(segment_ends(segments), tokens, positions, segments)[0, 0]


def test_rm_1_the_score_is_read_at_the_end_token_whatever_stands_around() -> None:
    model = make_model()
    for comparison in make_comparisons():
        for ids, _ in comparison.answers:
            assert ids[-1] == END
            expected = model(torch.tensor([ids]))[0, -1]
            for left, right in ((0, 0), (3, 0), (0, 5)):
                assert torch.allclose(alone(model, ids, left, right), expected, atol=1e-6)


def test_rm_2_the_head_starts_with_a_deviation_of_one_over_the_root_of_the_width() -> None:
    torch.manual_seed(0)
    wide = DecoderConfig(
        vocab_size=64, width=1024, depth=1, heads=1, kv_heads=1, head_dim=8, hidden=8, tied=True, max_length=8
    )
    assert float(Scorer(Decoder(wide), 8).output.weight.std()) == pytest.approx(1025**-0.5, rel=0.03)


def test_the_loss_is_that_of_answers_read_one_by_one() -> None:
    model, comparisons = make_model(aspects=2), make_comparisons()
    expected = torch.zeros((), dtype=torch.float64)
    for comparison in comparisons:
        scores = [alone(model, ids) for ids, _ in comparison.answers]
        for pair in comparison.pairs:
            better, worse = (scores[n][pair.aspect] for n in (pair.better, pair.worse))
            loss = pairwise(better, worse, pair.margin, pair.certainty) + 0.01 * (better + worse).square()
            expected = expected + loss / len(comparison.pairs)
    found = RewardComparisons(0.01)(model, packed(comparisons))
    assert float(found.weight) == pytest.approx(len(comparisons))
    assert torch.isclose(found.total, expected, rtol=1e-6)
    gradients = [torch.autograd.grad(x, list(model.parameters())) for x in (found.total, expected)]
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_rm_5_four_answers_are_read_once_each_for_six_pairs() -> None:
    prompt = [8, 9]
    answers = tuple(([*prompt, 10 + n, END], [False, False, True, True]) for n in range(4))
    comparison = Comparison(answers, tuple(Pair(a, b) for b in range(4) for a in range(b)))
    batch = packed([comparison], length=20)
    model, read = make_model(), []
    model.decoder.embedding.register_forward_hook(
        lambda module, given, out: read.append(int(given[0].numel()))
    )
    loss = RewardComparisons()(model, batch)
    assert read == [20] and int((batch.segments >= 0).sum()) == 16
    assert float(loss.weight) == pytest.approx(1.0) and int((batch.extra["pair_weight"] > 0).sum()) == 6


def test_micro_batches_add_up_to_the_batch() -> None:
    model, batch = make_model(), packed(make_comparisons())
    objective = RewardComparisons(0.01)
    whole, parts = objective(model, batch), [objective(model, part) for part in batch.split(len(batch))]
    assert len(batch) > 2
    assert torch.isclose(sum((part.total for part in parts), torch.zeros(())), whole.total)
    for name, value in whole.metrics.items():
        assert torch.isclose(sum((part.metrics[name] for part in parts), torch.zeros(())).to(value), value)


def test_a_constant_model_is_half_right_and_its_loss_is_ln_2() -> None:
    model, batch = make_model(), packed(make_comparisons())
    torch.nn.init.zeros_(model.output.weight)
    zero = torch.zeros_like(batch.extra["margin"])
    loss = RewardComparisons()(model, replace(batch, extra=batch.extra | {"margin": zero}))
    assert float(loss.total / loss.weight) == pytest.approx(0.69314718)
    assert float(loss.metrics["accuracy"] / loss.weight) == pytest.approx(0.5)


def test_pairs_are_scored_by_their_aspect() -> None:
    model, comparisons = make_model(aspects=2), make_comparisons(4)
    with torch.no_grad():
        model.output.weight[1] = -model.output.weight[0]
    batch = packed(comparisons)
    zeros = torch.zeros_like(batch.extra["aspect"])
    first, second = (
        pair_scores(model, replace(batch, extra=batch.extra | {"aspect": zeros + k})) for k in (0, 1)
    )
    assert torch.allclose(first[0], -second[0]) and torch.allclose(first[1], -second[1])


def test_segment_numbers() -> None:
    segments = torch.tensor([[0, 0, 1, -1], [0, 1, 1, 2]])
    assert segment_ends(segments).tolist() == [[1, 2, 0], [0, 2, 3]]
    values = torch.tensor([[1.0, 2.0, 4.0, 8.0], [1.0, 2.0, 4.0, 8.0]])
    assert segment_sums(values, segments).tolist() == [[3.0, 4.0, 0.0], [1.0, 6.0, 8.0]]
