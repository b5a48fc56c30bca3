"""DPO and its kin against trl: its trainers' own loss methods on the same log-probabilities and on the same model.

trl averages over pairs, and so do we where a prompt has one pair. Our rows are packed, trl's are padded.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from exnihilo.align.mismatched import WithDivergence
from exnihilo.align.reference import WithReference
from exnihilo.objectives import preference
from exnihilo.objectives.direct import REFERENCE_ANSWERS, DirectPreference, Variant, answer_logprobs
from exnihilo.objectives.labelled import LabelledAnswers
from exnihilo.tokens.comparisons import Comparison, ComparisonRows
from trl_trainers import (
    AsTransformers,
    assert_same,
    make_decoder,
    make_pairs,
    mean,
    packed,
    padded,
    padded_rows,
    reference_of,
    trainer_of,
)

pytest.importorskip("trl")

from trl import DPOTrainer, KTOTrainer
from trl.experimental.bco.bco_trainer import BCOTrainer, RunningMoments
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

TIGHT = 1e-9
ROUNDED = 1e-6
"""Where a float32 number enters: certainties of a batch, signs of KTO, trl's odds."""
BETA = 0.3


def ratios(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Log-ratios (or mean log-probabilities) of both signs, far apart and close together."""
    generator = torch.Generator().manual_seed(0)
    chosen, rejected = torch.randn(2, 200, generator=generator, dtype=dtype) * 8
    return chosen.requires_grad_(), rejected.requires_grad_()


def dpo(model: AsTransformers, **changes: Any) -> DPOTrainer:
    given = {
        "loss_types": ["sigmoid"], "loss_weights": [1.0], "beta": BETA, "label_smoothing": 0.0, "ld_alpha": None,
        "precompute_ref_logps": True, "f_divergence_type": "reverse_kl", "use_weighting": False,
        "args": SimpleNamespace(),
    }  # fmt: skip
    return trainer_of(DPOTrainer, model, **(given | changes))


def cpo(**changes: Any) -> CPOTrainer:
    given = {
        "beta": BETA, "loss_type": "sigmoid", "label_smoothing": 0.0, "simpo_gamma": 0.0, "alpha": 0.0,
        "cpo_alpha": 0.0, "is_encoder_decoder": False, "pad_token_id": 0,
    }  # fmt: skip
    return trainer_of(CPOTrainer, torch.nn.Identity(), **(given | changes))


@pytest.mark.parametrize(
    ("ours", "settings"),
    [
        (lambda c, r: preference.sigmoid(c, r, BETA), {}),
        (lambda c, r: preference.conservative(c, r, BETA, 0.1), {"label_smoothing": 0.1}),
        (lambda c, r: preference.hinge(c, r, BETA), {"loss_type": "hinge"}),
        (lambda c, r: preference.ipo(c, r, BETA), {"loss_type": "ipo"}),
        (lambda c, r: preference.simpo(c, r, BETA, 0.5), {"loss_type": "simpo", "simpo_gamma": 0.5}),
    ],
)
def test_dpo_2_pure_losses_are_those_of_cpo_trainer(
    ours: Callable[[Tensor, Tensor], Tensor], settings: dict[str, Any]
) -> None:
    """`CPOTrainer.cpo_loss` takes what it is given for log-probabilities: here our log-ratios, or for SimPO means."""
    chosen, rejected = ratios()
    theirs = cpo(**settings).cpo_loss(chosen, rejected)[0]
    assert torch.allclose(ours(chosen, rejected), theirs, rtol=0, atol=TIGHT)
    assert_same(ours(chosen, rejected).sum(), theirs.sum(), [chosen, rejected], TIGHT)


def test_dpo_6_orpo_is_that_of_orpo_trainer() -> None:
    """`ORPOTrainer.odds_ratio_loss` computes in float32 and returns β log σ(log odds ratio), which we negate."""
    generator = torch.Generator().manual_seed(0)
    chosen, rejected = (-4 * torch.rand(2, 200, generator=generator) - 0.01).unbind()
    chosen.requires_grad_(), rejected.requires_grad_()
    trainer = trainer_of(ORPOTrainer, torch.nn.Identity(), beta=BETA)
    theirs, _, _, _, odds = trainer.odds_ratio_loss(chosen, rejected)
    term, log_odds = preference.orpo(chosen, rejected)
    assert torch.allclose(BETA * term, -theirs, rtol=1e-5, atol=1e-6)
    assert log_odds.mean().item() == pytest.approx(odds.item(), abs=1e-5)
    assert_same(BETA * term.mean(), -theirs.mean(), [chosen, rejected], 1e-6)


def test_dpo_2_bco_is_that_of_bco_trainer_with_its_running_mean() -> None:
    """trl concatenates the losses of both answers, we add them."""
    chosen, rejected = ratios()
    trainer = trainer_of(
        BCOTrainer, torch.nn.Identity(), beta=BETA, embedding_func=None, embedding_tokenizer=None
    )
    trainer.running = RunningMoments(trainer.accelerator)
    trainer.running.update(torch.linspace(-1, 3, 50))
    start = torch.zeros_like(chosen)
    losses, _, _, shift = trainer.bco_loss(chosen, rejected, start, start, None, None)
    assert float(shift) != 0
    theirs = losses.view(2, -1).sum(0)
    ours = preference.bco(chosen, rejected, BETA, shift)
    assert torch.allclose(ours, theirs, rtol=0, atol=TIGHT)
    assert_same(ours.sum(), theirs.sum(), [chosen, rejected], TIGHT)


def both_sides(
    comparisons: list[Comparison], variant: Variant, settings: dict[str, Any], **own: Any
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Our loss, that of `DPOTrainer._compute_loss`, and the parameters of the model they share."""
    model = make_decoder()
    inputs, batch = padded(comparisons), packed(comparisons)
    generator = torch.Generator().manual_seed(5)
    count = len(comparisons)
    lengths = inputs["completion_mask"].sum(1)
    reference = -3.5 * lengths - torch.randn(2 * count, generator=generator, dtype=torch.float64)
    inputs["ref_chosen_logps"], inputs["ref_rejected_logps"] = reference[:count], reference[count:]
    batch.extra[REFERENCE_ANSWERS] = reference_of(batch, reference)
    wrapped = AsTransformers(model)
    theirs = dpo(wrapped, **settings)._compute_loss(wrapped, inputs, False)
    ours = mean(DirectPreference(variant, beta=BETA, **own)(model, batch))
    return ours, theirs, list(model.parameters())


@pytest.mark.parametrize(
    ("variant", "name", "flipped"),
    [
        ("sigmoid", "sigmoid", 0.0),
        ("hinge", "hinge", 0.0),
        ("ipo-mean", "ipo", 0.0),
        ("robust", "robust", 0.2),
        ("nca", "nca_pair", 0.0),
        ("sppo", "sppo_hard", 0.0),
        ("apo-zero", "apo_zero", 0.0),
        ("apo-down", "apo_down", 0.0),
    ],
)
def test_dpo_2_losses_and_gradients_of_a_model_are_those_of_dpo_trainer(
    variant: Variant, name: str, flipped: float
) -> None:
    """trl's `ipo` takes means a token: our `ipo-mean`."""
    settings = {"loss_types": [name], "label_smoothing": flipped}
    ours, theirs, parameters = both_sides(make_pairs(), variant, settings, flipped=flipped)
    assert_same(ours, theirs, parameters, TIGHT)


def test_dpo_2_a_bco_pair_without_shift_is_that_of_dpo_trainer() -> None:
    """The objective has no BCO, so our function is given the model's log-ratios here."""
    comparisons, model = make_pairs(), make_decoder()
    inputs, batch = padded(comparisons), packed(comparisons)
    reference = -3.5 * inputs["completion_mask"].sum(1).double()
    count = len(comparisons)
    inputs["ref_chosen_logps"], inputs["ref_rejected_logps"] = reference[:count], reference[count:]
    wrapped = AsTransformers(model)
    theirs = dpo(wrapped, loss_types=["bco_pair"])._compute_loss(wrapped, inputs, False)
    sums, _ = answer_logprobs(model, batch)
    sums = sums - reference_of(batch, reference)
    there = batch.extra["pair_weight"] > 0
    chosen, rejected = (sums.gather(1, batch.extra[name])[there] for name in ("better", "worse"))
    assert_same(preference.bco(chosen, rejected, BETA).mean(), theirs, list(model.parameters()), TIGHT)


def test_dpo_2_flipped_labels_are_the_label_smoothing_of_one_pair_in_dpo_trainer() -> None:
    """trl's `sigmoid` no longer smooths labels, its `aot_unpaired` does; it sorts pairs, and one stays where it is."""
    one = make_pairs()[3]
    settings = {"loss_types": ["aot_unpaired"], "label_smoothing": 0.1}
    model = make_decoder()
    inputs, batch = padded([one]), packed([one, one])
    reference = torch.tensor([-9.0, -14.0], dtype=torch.float64)
    inputs["ref_chosen_logps"], inputs["ref_rejected_logps"] = reference[:1], reference[1:]
    batch.extra[REFERENCE_ANSWERS] = reference_of(batch, reference.repeat_interleave(2))
    wrapped = AsTransformers(model)
    theirs = dpo(wrapped, **settings)._compute_loss(wrapped, inputs, False)
    parameters = list(model.parameters())
    ours = mean(DirectPreference("sigmoid", beta=BETA, flipped=0.1)(model, batch))
    assert_same(ours, theirs, parameters, ROUNDED)
    batch.extra["certainty"] = torch.full_like(batch.extra["certainty"], 0.9)
    unsure = mean(DirectPreference("sigmoid", beta=BETA)(model, batch))
    # A graph is gone after its gradient: trl computes its loss again.
    theirs = dpo(wrapped, **settings)._compute_loss(wrapped, inputs, False)
    assert_same(unsure, theirs, parameters, ROUNDED)


def test_dpo_2_the_chosen_answers_cross_entropy_beside_the_loss_is_trls_sft_term() -> None:
    """trl averages it over the tokens of the batch, we over those of an answer and then over pairs: so it reads one
    pair at a time here."""
    comparisons, model = make_pairs(), make_decoder()
    inputs, batch = padded(comparisons), packed(comparisons)
    reference = -3.5 * inputs["completion_mask"].sum(1).double()
    batch.extra[REFERENCE_ANSWERS] = reference_of(batch, reference)
    wrapped, count = AsTransformers(model), len(comparisons)
    trainer = dpo(wrapped, loss_types=["sigmoid", "sft"], loss_weights=[1.0, 0.7])
    losses = []
    for i in range(count):
        one = {name: tensor[[i, count + i]] for name, tensor in inputs.items()}
        one |= {"ref_chosen_logps": reference[i, None], "ref_rejected_logps": reference[count + i, None]}
        losses.append(trainer._compute_loss(wrapped, one, False))
    ours = mean(DirectPreference("sigmoid", beta=BETA, nll=0.7)(model, batch))
    assert_same(ours, torch.stack(losses).mean(), list(model.parameters()), TIGHT)


def labelled(comparisons: list[Comparison]) -> dict[str, Tensor]:
    """A batch of CPO's and ORPO's trainers: labels are -100 off the answer."""
    inputs, count = padded(comparisons), len(comparisons)
    labels = torch.where(inputs["completion_mask"] == 1, inputs["input_ids"], -100)
    found = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"], "labels": labels}
    return {
        f"{which}_{name}": tensor[part]
        for which, part in (("chosen", slice(count)), ("rejected", slice(count, None)))
        for name, tensor in found.items()
    }


def test_dpo_6_simpo_of_a_model_is_that_of_cpo_trainer() -> None:
    comparisons, model = make_pairs(), make_decoder()
    trainer = cpo(loss_type="simpo", simpo_gamma=0.2)
    theirs, _ = trainer.get_batch_loss_metrics(AsTransformers(model), labelled(comparisons))
    ours = mean(DirectPreference("simpo", beta=BETA, margin=0.2)(model, packed(comparisons)))
    assert_same(ours, theirs, list(model.parameters()), TIGHT)


def test_dpo_6_orpo_of_a_model_is_that_of_orpo_trainer() -> None:
    """trl's cross-entropy is over the prompt, too, and over the tokens of a batch; ours over the answer, and an answer
    at a time. So prompts are one token here, which nothing predicts, and trl reads one pair at a time. Its odds are
    float32."""
    comparisons, model = make_pairs(prompt=1), make_decoder()
    trainer = trainer_of(
        ORPOTrainer, torch.nn.Identity(), beta=BETA, is_encoder_decoder=False, padding_value=0
    )
    losses = [
        trainer.get_batch_loss_metrics(AsTransformers(model), labelled([one]))[0] for one in comparisons
    ]
    ours = mean(DirectPreference("orpo", beta=BETA)(model, packed(comparisons)))
    assert_same(ours, torch.stack(losses).mean(), list(model.parameters()), ROUNDED)


@pytest.mark.parametrize("better", [True, False], ids=["policy above the reference", "policy below it"])
def test_dpo_5_kto_of_a_model_is_that_of_kto_trainer(better: bool) -> None:
    """The divergence is estimated by trl from answers to other prompts; where it is below 0, 0 counts."""
    comparisons, model = make_pairs(), make_decoder()
    inputs, batch = padded(comparisons), packed(comparisons)
    count = len(comparisons)
    others = {f"KL_{name}": tensor.roll(1, 0) for name, tensor in inputs.items()}
    wrapped = AsTransformers(model)
    sums, _ = answer_logprobs(model, batch)
    there = batch.extra["pair_weight"] > 0
    chosen, rejected = (sums.gather(1, batch.extra[name])[there] for name in ("better", "worse"))
    order = torch.argsort(batch.extra["answer"].gather(1, first_columns(batch))[there])
    policy = torch.cat([chosen[order], rejected[order]])
    reference = (policy + (-1.0 if better else 1.0) * torch.linspace(0.5, 2, 2 * count)).detach()
    labels = torch.arange(2 * count) < count
    trainer = trainer_of(
        KTOTrainer, wrapped, beta=BETA, loss_type="kto", calculate_KL=True, precompute_ref_logps=True,
        desirable_weight=1.0, undesirable_weight=1.0, use_liger_kernel=False,
    )  # fmt: skip
    extra = {"label": labels, "ref_logps": reference, "ref_KL_logps": reference.roll(1, 0)}
    theirs = trainer._compute_loss(wrapped, inputs | others | extra, False)
    divergence = (policy - reference).mean().detach()
    assert trainer._metrics["train"]["kl"][0] == pytest.approx(max(0.0, float(divergence)), abs=1e-9)
    ours = preference.kto(policy - reference, labels, divergence, BETA).mean()
    assert_same(ours, theirs, list(model.parameters()), ROUNDED)


@pytest.mark.parametrize("shift", [-1.0, 1.0], ids=["policy above the reference", "policy below it"])
def test_dpo_5_kto_with_its_own_divergence_and_weights_is_that_of_kto_trainer(shift: float) -> None:
    """Both are given the same answers to other prompts; trl pads them, we pack them, and read them before the step."""
    comparisons, model = make_pairs(), make_decoder()
    count, dtype = len(comparisons), torch.float64
    rows = [one.answers[which] for which in (0, 1) for one in comparisons]
    # A prompt is three ids.
    crossed = [
        ([*ids[:3], *other[3:]], [*mask[:3], *of_other[3:]])
        for (ids, mask), (other, of_other) in zip(rows, rows[-1:] + rows[:-1], strict=True)
    ]
    inputs, others = padded_rows(rows), padded_rows(crossed)
    reference, other_reference = (
        -4.2 * one["completion_mask"].sum(1) + torch.linspace(shift, 3 * shift, 2 * count, dtype=dtype)
        for one in (inputs, others)
    )
    wrapped = AsTransformers(model)
    trainer = trainer_of(
        KTOTrainer, wrapped, beta=BETA, loss_type="kto", calculate_KL=True, precompute_ref_logps=True,
        desirable_weight=1.3, undesirable_weight=1.0, use_liger_kernel=False,
    )  # fmt: skip
    labels = torch.arange(2 * count) < count
    extra = {"label": labels, "ref_logps": reference, "ref_KL_logps": other_reference}
    extra |= {f"KL_{name}": tensor for name, tensor in others.items()}
    theirs = trainer._compute_loss(wrapped, inputs | extra, False)
    batch = packed(comparisons)
    batch.extra[REFERENCE_ANSWERS] = reference_of(batch, reference)
    there = WithReference(
        ComparisonRows([Comparison((one,), ()) for one in crossed], 3, 40, seed=0, pad=2), other_reference
    )
    there.reference = other_reference
    WithDivergence(there, there, torch.float32).add([batch], there.source.once(), model)
    metrics = trainer._metrics["train"]
    assert metrics["kl"][0] == pytest.approx(max(0.0, float(batch.extra["divergence"][0])), abs=ROUNDED)
    ours = LabelledAnswers(beta=BETA, desirable=1.3)(model, batch)
    assert_same(mean(ours), theirs, list(model.parameters()), ROUNDED)
    found = {name: float(value / ours.weight) for name, value in ours.metrics.items()}
    assert found["chosen_logprob"] == pytest.approx(metrics["logps/chosen"][0], abs=1e-5)
    assert found["rejected_logprob"] == pytest.approx(metrics["logps/rejected"][0], abs=1e-5)


def first_columns(batch: Any) -> Tensor:
    """The first position of the better answer of every pair, `[rows, pairs]`."""
    better = batch.extra["better"]
    return (batch.segments[:, None, :] == better[:, :, None]).int().argmax(-1)
