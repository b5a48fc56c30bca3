"""Answers that share their prompt: what they learn is what they would learn each behind a prompt of its own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from exnihilo.align.answer_rows import Place, pack
from exnihilo.align.responses import Response
from exnihilo.infer.generate import Generation
from exnihilo.model.decoder import Decoder
from exnihilo.objectives.policy import ADVANTAGES, REFERENCE, PolicyGradient, response_logprobs
from exnihilo.tokens.batch import PADDING_SEGMENT, PREFIX, Batch
from random_decoder import random_decoder

VOCABULARY, PAD = 40, 0


def responses(*groups: tuple[int, Sequence[int]], seed: int = 0) -> list[Response]:
    """For each group the length of its prompt, and of its answers."""
    drawn = torch.Generator().manual_seed(seed)

    def ids(count: int) -> list[int]:
        return torch.randint(1, VOCABULARY, (count,), generator=drawn).tolist()

    return [
        Response({}, prompt, Generation(said := ids(n), [-1.0] * n, [-1.0] * n, "stop"), f"{said}")
        for prompt, answers in ((ids(p), answers) for p, answers in groups)
        for n in answers
    ]


def learned(batch: Batch, places: Sequence[Place], advantages: Tensor) -> Batch:
    by_token = torch.zeros_like(batch.weights)
    for (row, answer), advantage in zip(places, advantages.tolist(), strict=True):
        by_token[row, answer] = advantage
    batch.extra.update({ADVANTAGES: by_token, REFERENCE: torch.full_like(batch.weights, -3.0)})
    return batch


def by_answer(model: Decoder, batch: Batch, places: Sequence[Place]) -> list[Tensor]:
    found = torch.zeros_like(batch.weights, dtype=model.embedding.weight.dtype)
    found[batch.weights != 0] = response_logprobs(model, batch)
    return [found[row, answer] for row, answer in places]


GROUPS = [(9, [3, 7, 1, 12]), (1, [4, 2]), (5, [6]), (14, [5, 5, 2, 9, 8]), (2, [1, 1, 1])]


@pytest.mark.parametrize(
    "shape", [{}, {"heads": 4, "kv_heads": 2}, {"layout": "gpt2", "heads": 2, "kv_heads": 2}]
)
def test_probabilities_and_gradients_are_those_of_answers_packed_alone(shape: dict[str, object]) -> None:
    model = random_decoder(VOCABULARY, noise=0.3, **shape).double()
    given = responses(*GROUPS * 4)  # more segments than a row has tokens
    advantages = torch.linspace(-1, 1, len(given))
    shared, places = pack(given, 60, PAD, sharing=True)
    assert PREFIX in shared.extra and len(shared) > 4 and shared.segments.max() > 60
    alone = [pack([one], 60, PAD) for one in given]
    apart, _ = pack(given, 60, PAD)
    assert PREFIX not in apart.extra and len(apart) > len(shared)
    for found, (batch, own) in zip(by_answer(model, shared, places), alone, strict=True):
        torch.testing.assert_close(found, by_answer(model, batch, own)[0], rtol=1e-5, atol=1e-5)

    objective = PolicyGradient(0.1)
    loss = objective(model, learned(shared, places, advantages))
    loss.total.backward()
    gradients = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    model.zero_grad()
    others = [
        objective(model, learned(*one, advantage[None]))
        for one, advantage in zip(alone, advantages, strict=True)
    ]
    total = torch.stack([one.total for one in others]).sum()
    total.backward()
    torch.testing.assert_close(loss.total, total, rtol=1e-9, atol=1e-9)
    assert float(loss.weight) == sum(float(one.weight) for one in others)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-9, atol=1e-9, msg=name)


def test_an_answer_sees_its_own_prompt_and_no_other_answer() -> None:
    model = random_decoder(VOCABULARY, noise=0.3)
    given = responses((8, [4, 4, 4]), (8, [4, 4, 4]))
    batch, places = pack(given, 60, PAD, sharing=True)
    assert len(batch) == 1
    before = by_answer(model, batch, places)
    other = int((batch.segments[0] == batch.segments[0, places[1][1][0]]).nonzero()[1, 0])
    batch.tokens[0, other] += 1
    changed = [not torch.equal(a, b) for a, b in zip(before, by_answer(model, batch, places), strict=True)]
    assert changed == [i == 1 for i in range(6)]
    batch.tokens[0, int((batch.segments[0] == 0).nonzero()[2, 0])] += 1  # the prompt that stands first
    moved = [not torch.equal(a, b) for a, b in zip(before, by_answer(model, batch, places), strict=True)]
    mine = [i for i, one in enumerate(places) if int(batch.extra[PREFIX][0, one[1][0]]) == 1]
    assert sorted({1, *mine}) == [i for i, one in enumerate(moved) if one] and len(mine) > 1


def test_every_id_stands_where_its_answer_says() -> None:
    given = responses(*GROUPS, seed=3)
    batch, places = pack(given, 60, PAD, sharing=True)
    for response, (row, answer) in zip(given, places, strict=True):
        assert batch.targets[row, answer].tolist() == response.generation.ids
        assert batch.tokens[row, answer].tolist() == response.ids[len(response.prompt) - 1 : -1]
        begin = len(response.prompt) - 1
        assert batch.positions[row, answer].tolist() == list(range(begin, begin + len(answer)))
        prefix = int(batch.extra[PREFIX][row, answer[0]]) - 1
        if prefix >= 0:
            here = batch.segments[row] == prefix
            assert batch.tokens[row, here].tolist() == response.prompt[:-1]
    assert int(batch.weights.sum()) == sum(len(one.generation.ids) for one in given)
    real = batch.segments != PADDING_SEGMENT
    assert (batch.tokens[~real] == PAD).all() and int(real.sum()) < sum(len(one.ids) - 1 for one in given)


def test_a_group_is_parted_where_rows_are_fewer_so_and_whole_where_not() -> None:
    # Whole, each takes 21 positions; alone an answer takes 9, three of which fit a row.
    assert len(pack(responses(*[(6, [4, 4, 4, 4])] * 3), 32, PAD, sharing=True)[0]) == 3
    # Whole, a group takes 41 and there would be six rows; in halves of 23 three fit a row; alone they would take five.
    batch, places = pack(responses(*[(6, [9, 9, 9, 9])] * 6), 70, PAD, sharing=True)
    assert len(batch) == 4
    assert len({(row, int(batch.extra[PREFIX][row, answer[0]])) for row, answer in places}) == 12
    # What no row holds together is parted.
    long, places = pack(responses((20, [30] * 4)), 60, PAD, sharing=True)
    assert len(long) == 4 and PREFIX not in long.extra and len(places) == 4
    assert len(pack(responses((20, [30] * 4)), 90, PAD, sharing=True)[0]) == 2


def test_without_answers_there_is_one_empty_row() -> None:
    batch, places = pack([], 16, PAD, sharing=True)
    assert len(batch) == 1 and not places and not batch.weights.any()
