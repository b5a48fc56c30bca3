"""GRPO against trl: `GRPOTrainer._compute_loss` on the same model and tensors, and the advantages of a run of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from exnihilo.align.advantages import group_advantages
from exnihilo.model.decoder import Decoder
from exnihilo.objectives.linear_logprobs import linear_logprobs_entropy
from exnihilo.objectives.policy import PolicyGradient, packed_hidden, response_logprobs
from exnihilo.tokens.batch import Batch
from trl_trainers import (
    AsTransformers,
    assert_same,
    make_decoder,
    make_language_model,
    make_tokenizer,
    mean,
    trainer_of,
)

pytest.importorskip("trl")
pytest.importorskip("requests")  # trl imports it and does not ask for it

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

TIGHT = 1e-9
PROMPT, MOST, ROWS = 3, 7, 6
LOW, HIGH = 0.2, 0.28


def make_inputs(model: Decoder) -> dict[str, Tensor]:
    """A batch as trl's trainer reads it: prompts of one length, responses padded on the right. Ratios lie on both
    sides of both borders of the clip."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(8, 64, (ROWS, PROMPT + MOST), generator=generator)
    lengths = torch.tensor([7, 2, 5, 1, 6, 4])
    mask = (torch.arange(MOST) < lengths[:, None]).long()
    ids[:, PROMPT:] *= mask
    logits = model(ids).detach()[:, PROMPT - 1 : -1].log_softmax(-1)
    now = logits.gather(-1, ids[:, PROMPT:, None])[..., 0]

    def away(spread: float) -> Tensor:
        return now + spread * torch.randn(now.shape, generator=generator, dtype=torch.float64)

    return {
        "prompt_ids": ids[:, :PROMPT],
        "prompt_mask": torch.ones(ROWS, PROMPT, dtype=torch.long),
        "completion_ids": ids[:, PROMPT:],
        "completion_mask": mask,
        "advantages": torch.randn(ROWS, generator=generator, dtype=torch.float64),
        "old_per_token_logps": away(0.4),
        "ref_per_token_logps": away(0.7),
        "num_items_in_batch": mask.sum(),
    }


def batch_of(inputs: dict[str, Tensor], weights: Tensor) -> Batch:
    """The same as a batch of ours: a field by position says what its target has, one column before trl's."""
    tokens = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)

    def placed(values: Tensor) -> Tensor:
        field = torch.zeros(tokens.shape, dtype=values.dtype)
        field[:, PROMPT - 1 : -1] = values * inputs["completion_mask"]
        return field

    positions = torch.arange(tokens.shape[1]).repeat(ROWS, 1)
    extra = {
        "advantages": placed(inputs["advantages"][:, None].expand(-1, MOST)),
        "sampled_logprobs": placed(inputs["old_per_token_logps"]),
        "reference_logprobs": placed(inputs["ref_per_token_logps"]),
    }
    return Batch(
        tokens, positions, torch.zeros_like(tokens), tokens.roll(-1, 1), placed(weights.double()), extra
    )


def grpo(model: AsTransformers, kind: str, beta: float) -> GRPOTrainer:
    return trainer_of(
        GRPOTrainer, model, loss_type=kind, beta=beta, epsilon_low=LOW, epsilon_high=HIGH, temperature=1.0,
        top_entropy_quantile=1.0, off_policy_mask_threshold=None, importance_sampling_level="token",
        use_vllm=False, current_gradient_accumulation_steps=1, max_completion_length=MOST,
        model_kwarg_keys=set(), _entropy_bonus_enabled=False,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1, report_to=[]),
    )  # fmt: skip


@pytest.mark.parametrize("beta", [0.0, 0.07])
@pytest.mark.parametrize("kind", ["dapo", "bnpo", "grpo", "dr_grpo"])
def test_grpo_2_losses_and_gradients_are_those_of_grpo_trainer(kind: str, beta: float) -> None:
    """Ours is DAPO's mean over the tokens of a step. trl's `grpo` is a mean over responses of means over tokens: ours
    where a token weighs 1/length. `dr_grpo` divides our sum by rows times the longest possible response."""
    model = make_decoder()
    inputs = make_inputs(model)
    mask = inputs["completion_mask"]
    wrapped = AsTransformers(model)
    theirs = grpo(wrapped, kind, beta)._compute_loss(wrapped, inputs)
    weights = mask.double() / mask.sum(1, keepdim=True) if kind == "grpo" else mask
    loss = PolicyGradient(beta, LOW, HIGH)(model, batch_of(inputs, weights))
    assert 0 < float(loss.metrics["clipped"]) < float(loss.weight)
    ours = loss.total / (ROWS * MOST) if kind == "dr_grpo" else mean(loss)
    assert_same(ours, theirs, list(model.parameters()), TIGHT)


def test_grpo_3_the_divergence_that_is_reported_is_that_of_grpo_trainer() -> None:
    model = make_decoder()
    inputs = make_inputs(model)
    wrapped = AsTransformers(model)
    trainer = grpo(wrapped, "dapo", 0.07)
    trainer._compute_loss(wrapped, inputs)
    loss = PolicyGradient(0.07, LOW, HIGH)(model, batch_of(inputs, inputs["completion_mask"]))
    for ours, name in (("kl", "kl"), ("entropy", "entropy")):
        theirs = trainer._metrics["train"][name][0]
        assert float(loss.metrics[ours] / loss.weight) == pytest.approx(theirs, abs=1e-6)


def test_grpo_4_log_probabilities_are_those_of_grpo_trainer() -> None:
    model = make_decoder()
    inputs = make_inputs(model)
    batch = batch_of(inputs, inputs["completion_mask"])
    wrapped = AsTransformers(model)
    theirs, entropies, _ = grpo(wrapped, "dapo", 0.0)._get_per_token_logps_and_entropies(
        wrapped, batch.tokens, torch.ones_like(batch.tokens), MOST, compute_entropy=True
    )
    kept = inputs["completion_mask"].bool()
    answers = batch.weights != 0
    hidden = packed_hidden(model, batch)[answers]
    ours, entropy = linear_logprobs_entropy(hidden, model.head_weight, batch.targets[answers])
    assert torch.equal(ours, response_logprobs(model, batch))
    assert torch.allclose(ours, theirs[kept], rtol=0, atol=TIGHT)
    assert torch.allclose(entropy, entropies[kept], rtol=0, atol=TIGHT)


@pytest.mark.parametrize("scale", [True, False])
def test_grpo_1_advantages_are_those_of_a_run_of_grpo_trainer(tmp_path: Path, scale: bool) -> None:
    """A whole trainer samples and rewards; some rewards are None, which is our NaN, one group's are equal."""
    given: list[list[float | None]] = []
    found: list[Tensor] = []

    def reward(completions: list[str], **_: Any) -> list[float | None]:
        values: list[float | None] = [float((7 * i + 3 * len(given)) % 5) for i in range(len(completions))]
        values[4:8] = [2.0] * 4
        values[9] = None
        given.append(values)
        return values

    class Recording(GRPOTrainer):
        def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
            found.append(inputs["advantages"].clone())
            loss: Tensor = super()._compute_loss(model, inputs)
            return loss

        def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
            outputs: dict[str, Any] = super()._generate_and_score_completions(inputs)
            scored.append(outputs["advantages"].clone())
            return outputs

    scored: list[Tensor] = []
    args = GRPOConfig(
        output_dir=str(tmp_path), use_cpu=True, bf16=False, per_device_train_batch_size=12, num_generations=4,
        max_completion_length=4, max_steps=1, report_to=[], save_strategy="no", disable_tqdm=True,
        scale_rewards="group" if scale else "none", gradient_checkpointing=False, seed=0,
    )  # fmt: skip
    prompts = Dataset.from_list([{"prompt": "a b"}, {"prompt": "b c"}, {"prompt": "c a"}])
    trainer = Recording(
        model=make_language_model(vocab_size=17), reward_funcs=reward, args=args, train_dataset=prompts,
        processing_class=make_tokenizer(),
    )  # fmt: skip
    trainer.train()
    rewards = torch.tensor([[float("nan") if v is None else v for v in values] for values in given])
    assert len(scored) == len(given) == len(found) == 1
    ours = group_advantages(rewards.view(-1, 4), scale=scale)
    assert torch.allclose(ours.flatten(), scored[0], rtol=0, atol=1e-6)
    assert not ours[1].any() and ours[0].any() and ours[2, 1] == 0
    assert torch.allclose(
        found[0].sort().values, scored[0].sort().values
    )  # the loss has them in another order
