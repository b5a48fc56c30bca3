"""The policy-gradient objective: golden numbers, gradient identities, invariances."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder
from exnihilo.objectives.policy import (
    ADVANTAGES,
    ANCHOR,
    REFERENCE,
    SAMPLED,
    PolicyGradient,
    k3,
    response_logprobs,
)
from exnihilo.tokens.batch import Batch

CONFIG = DecoderConfig(
    vocab_size=40, width=24, depth=2, heads=2, kv_heads=2, head_dim=12, hidden=32, tied=False, max_length=64
)
END = 7


def make_model(seed: int = 0) -> Decoder:
    torch.manual_seed(seed)
    model = Decoder(CONFIG).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def make_batch(model: Decoder, rows: int = 4, seed: int = 1, reference: Decoder | None = None) -> Batch:
    """Rows of a 5-token prompt and an answer of 3 to 9 tokens that ends by the end-of-turn token."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(8, 40, (rows, 16), generator=generator)
    lengths = [3 + 2 * (i % 4) for i in range(rows)]
    targets, weights = tokens.roll(-1, dims=1), torch.zeros(rows, 16, dtype=torch.float64)
    advantages = torch.zeros(rows, 16, dtype=torch.float64)
    segments = torch.full((rows, 16), -1)
    for i, length in enumerate(lengths):
        targets[i, 4 + length - 1] = END
        weights[i, 4 : 4 + length] = 1.0
        advantages[i, 4 : 4 + length] = (-1.0) ** i * (1 + i)
        segments[i, : 4 + length] = 0
    positions = torch.arange(16).expand(rows, 16).contiguous()
    zeros = torch.zeros_like(weights)
    batch = Batch(
        tokens,
        positions,
        segments,
        targets,
        weights,
        {ADVANTAGES: advantages, SAMPLED: zeros, REFERENCE: zeros},
    )
    kept = weights != 0
    filled = {SAMPLED: zeros.clone(), REFERENCE: zeros.clone()}
    with torch.no_grad():
        filled[SAMPLED][kept] = response_logprobs(model, batch).double()
        filled[REFERENCE][kept] = response_logprobs(reference or model, batch).double()
    return replace(batch, extra=batch.extra | filled)


def gradients(model: Decoder, batch: Batch, objective: PolicyGradient, parts: int = 1) -> list[torch.Tensor]:
    model.zero_grad()
    weight = 0.0
    for part in batch.split(parts):
        loss = objective(model, part)
        loss.total.backward()
        weight += loss.weight.item()
    return [p.grad / weight for p in model.parameters() if p.grad is not None]


def test_ppo_1_at_the_first_step_ratio_is_1_nothing_is_clipped_and_kl_is_0() -> None:
    model = make_model()
    loss = PolicyGradient(beta=0.1)(model, make_batch(model))
    assert loss.metrics["kl"].abs().item() < 1e-9
    assert loss.metrics["clipped"].item() == 0
    assert loss.metrics["sampler_gap"].item() < 1e-5


def test_on_policy_gradient_is_that_of_reinforce() -> None:
    model = make_model()
    batch = make_batch(model)
    found = gradients(model, batch, PolicyGradient(beta=0.0))
    model.zero_grad()
    logprobs = F.log_softmax(model(batch.tokens, batch.positions, batch.segments), dim=-1)
    chosen = logprobs.gather(-1, batch.targets[..., None])[..., 0]
    (-(chosen * batch.extra[ADVANTAGES] * batch.weights).sum() / batch.weights.sum()).backward()
    expected = [p.grad for p in model.parameters() if p.grad is not None]
    for a, b in zip(found, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_grpo_4_tokens_count_the_same_whatever_the_length_of_their_answer() -> None:
    model = make_model()
    batch = make_batch(model, rows=2)
    weights, advantages = torch.zeros_like(batch.weights), torch.zeros_like(batch.weights)
    weights[0, 4:6], weights[1, 4:10] = 1.0, 1.0
    advantages[0, 4:6], advantages[1, 4:10] = -1.0, 1.0  # losses +1 on 2 tokens and -1 on 6
    sampled = torch.zeros_like(weights)
    batch = replace(batch, weights=weights)
    with torch.no_grad():
        sampled[weights != 0] = response_logprobs(model, batch).double()
    batch = replace(batch, extra={ADVANTAGES: advantages, SAMPLED: sampled, REFERENCE: sampled})
    loss = PolicyGradient(beta=0.0)(model, batch)
    assert (loss.total / loss.weight).item() == pytest.approx(-0.5, abs=1e-6)


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_grpo_4_micro_batches_change_nothing(parts: int) -> None:
    model = make_model()
    batch = make_batch(model, reference=make_model(5))
    objective = PolicyGradient(beta=0.3)
    for a, b in zip(
        gradients(model, batch, objective), gradients(model, batch, objective, parts), strict=True
    ):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-9)


def test_grpo_6_the_end_of_turn_token_is_trained() -> None:
    model = make_model()
    batch = make_batch(model)
    weights = torch.where(batch.targets == END, batch.weights, 0.0)
    assert weights.sum() == 4
    only_ends = replace(batch, weights=weights)
    found = gradients(model, only_ends, PolicyGradient(beta=0.0))
    assert max(g.abs().max().item() for g in found) > 1e-4
    model.zero_grad()
    PolicyGradient(beta=0.0)(model, only_ends).total.backward()
    assert model.output is not None and model.output.weight.grad is not None
    assert model.output.weight.grad[END].abs().max() > 1e-4


def test_clipping_stops_a_probability_that_already_moved_far_the_right_way() -> None:
    model = make_model()
    batch = make_batch(model)
    raised = replace(batch, extra=batch.extra | {SAMPLED: batch.extra[SAMPLED] - 0.5})  # ratio e^0.5 = 1.65
    positive = replace(raised, extra=raised.extra | {ADVANTAGES: batch.weights})
    assert max(g.abs().max().item() for g in gradients(model, positive, PolicyGradient(0.0))) == 0.0
    negative = replace(raised, extra=raised.extra | {ADVANTAGES: -batch.weights})
    assert max(g.abs().max().item() for g in gradients(model, negative, PolicyGradient(0.0))) > 0.0
    loss = PolicyGradient(0.0, clip_high=0.28)(model, positive)
    assert (loss.total / loss.weight).item() == pytest.approx(-1.28, abs=1e-6)
    assert loss.metrics["clipped"].item() == loss.weight.item()


def test_ppo_7_k3_is_unbiased_and_its_gradient_is_that_of_the_forward_kl() -> None:
    torch.manual_seed(0)
    logits, reference = torch.randn(2, 6, dtype=torch.float64).log_softmax(-1)
    kl = (logits.exp() * (logits - reference)).sum()
    assert (logits.exp() * k3(logits, reference)).sum().item() == pytest.approx(kl.item(), abs=1e-12)
    free = torch.randn(6, dtype=torch.float64, requires_grad=True)
    logprobs = free.log_softmax(-1)
    (logprobs.exp().detach() * k3(logprobs, reference)).sum().backward()
    other = free.detach().clone().requires_grad_()
    (reference.exp() * (reference - other.log_softmax(-1))).sum().backward()
    assert free.grad is not None and other.grad is not None
    assert torch.allclose(free.grad, other.grad, atol=1e-12)


def test_pack_3_answers_packed_into_one_row_give_the_same_gradient() -> None:
    model = make_model()
    batch = make_batch(model, reference=make_model(5))
    used = [int((segment >= 0).sum()) for segment in batch.segments]
    fields = {
        name: torch.cat([tensor[i, :n] for i, n in enumerate(used)])[None]
        for name, tensor in batch.fields().items()
    }
    fields["segments"] = torch.cat([torch.full((n,), i) for i, n in enumerate(used)])[None]
    extra = {name: fields.pop(name) for name in (ADVANTAGES, SAMPLED, REFERENCE)}
    packed = Batch(**fields, extra=extra)
    objective = PolicyGradient(beta=0.2)
    for a, b in itertools.zip_longest(
        gradients(model, batch, objective), gradients(model, packed, objective)
    ):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-9)


def anchored(batch: Batch, weight: float) -> Batch:
    """The batch with `anchor` on the last row, which then carries no reward."""
    anchor, weights = torch.zeros_like(batch.weights), batch.weights.clone()
    anchor[-1] = weight * weights[-1]
    weights[-1] = 0.0
    return replace(batch, weights=weights, extra=batch.extra | {ANCHOR: anchor})


def test_the_anchor_is_nothing_at_the_reference_and_the_forward_kl_away_from_it() -> None:
    model, reference = make_model(), make_model(5)
    batch = anchored(make_batch(model), weight=2.0)
    objective = PolicyGradient(beta=0.0, reference=model)
    assert abs(objective(model, batch).metrics["anchor"].item()) < 1e-9

    loss = PolicyGradient(beta=0.0, reference=reference)(model, batch)
    held = batch.extra[ANCHOR] != 0
    with torch.no_grad():
        found = model(batch.tokens, batch.positions, batch.segments)[held].log_softmax(-1)
        expected = reference(batch.tokens, batch.positions, batch.segments)[held].log_softmax(-1)
        by_hand = 2.0 * F.kl_div(found, expected, log_target=True, reduction="sum")
    assert loss.metrics["anchor"].item() == pytest.approx(by_hand.item(), rel=1e-9)
    free = PolicyGradient(beta=0.0)(model, batch)
    assert loss.weight.item() == free.weight.item() == batch.weights.sum().item()
    assert (loss.total - free.total).item() == pytest.approx(by_hand.item(), rel=1e-6)


@pytest.mark.parametrize("parts", [2, 4])
def test_the_anchor_does_not_depend_on_micro_batches(parts: int) -> None:
    model = make_model()
    batch = anchored(make_batch(model), weight=3.0)
    objective = PolicyGradient(beta=0.1, reference=make_model(5))
    for a, b in zip(
        gradients(model, batch, objective), gradients(model, batch, objective, parts), strict=True
    ):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-9)


def test_grpo_5_a_long_answer_that_drifted_a_little_keeps_its_gradient() -> None:
    """Drift .002 a token over 1,000 tokens is a ratio of 7.4 of the whole answer, and 1.002 of each token."""
    config = CONFIG.model_copy(update={"max_length": 1024})
    torch.manual_seed(0)
    model = Decoder(config).double()
    tokens = torch.randint(8, 40, (1, 1000))
    ones, zeros = torch.ones(1, 1000, dtype=torch.float64), torch.zeros(1, 1000, dtype=torch.long)
    batch = Batch(tokens, torch.arange(1000)[None], zeros, tokens.roll(-1, 1), ones, {})
    with torch.no_grad():
        now = response_logprobs(model, batch).double()[None]
    batch = replace(batch, extra={ADVANTAGES: ones, SAMPLED: now - 0.002, REFERENCE: now})
    loss = PolicyGradient(beta=0.0)(model, batch)
    assert (loss.total / loss.weight).item() == pytest.approx(-1.002002, abs=1e-5)
    assert loss.metrics["clipped"].item() == 0
    assert max(g.abs().max().item() for g in gradients(model, batch, PolicyGradient(beta=0.0))) > 0
