"""The source of PPO's batches: rollouts with rewards a token, values and advantages, each learned from several
times."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from exnihilo.align.answer_rows import Place, pack
from exnihilo.align.gae import generalised_advantages, token_rewards, whiten
from exnihilo.align.kept_batches import load_batch, save_batch
from exnihilo.align.kl_control import KLControl
from exnihilo.align.responses import Response, Sampler, told
from exnihilo.align.rewards import RewardSource
from exnihilo.core.errors import Refused
from exnihilo.core.files import write_json
from exnihilo.core.seeds import derive
from exnihilo.model.actor_critic import ActorCritic
from exnihilo.model.adapters import adapters_off
from exnihilo.model.decoder import Decoder
from exnihilo.model.precision import multiplying_in
from exnihilo.objectives.importance import importance_weights, mismatch
from exnihilo.objectives.policy import ADVANTAGES, OLD, SAMPLED, response_logprobs
from exnihilo.objectives.ppo import PTX, RETURNS, VALUES
from exnihilo.tokens.batch import Batch, Source
from exnihilo.tokens.order import Permutation
from exnihilo.tokens.state import Scalars, check_state

ROWS = 16

Record = Callable[[int, list[Response], list[float | None], dict[str, float]], None]


class PPORollouts:
    """A `Source` whose every `epochs · parts` steps learn from one rollout: `epochs` times all of it, in `parts`.

    A rollout samples answers from the policy, has them judged, takes from each token's reward β times how far the
    policy is from the reference there (k1, whose gradient as a reward is that of KL(policy‖reference)), gives the
    score to the last token, and estimates advantages by the critic's values (arXiv 1506.02438), whitened over the
    rollout. Responses that nobody could judge are left out. It is written to `folder` before the first step learns
    from it: once the policy has moved it can't be made again.
    """

    def __init__(
        self,
        sampler: Sampler,
        reward: RewardSource,
        reference: Decoder,
        control: KLControl,
        *,
        length: int,
        epochs: int,
        parts: int,
        gamma: float,
        lam: float,
        folder: Path,
        importance_cap: float = 2.0,
        dtype: torch.dtype = torch.float32,
        ptx: Source | None = None,
        ptx_weight: float = 0.0,
        oldest_step: Callable[[], int] = lambda: 0,
        record: Record = lambda step, responses, rewards, figures: None,
    ) -> None:
        self.sampler, self.reward, self.reference, self.control = sampler, reward, reference, control
        self.length, self.epochs, self.parts = length, epochs, parts
        self.gamma, self.lam, self.folder = gamma, lam, folder
        self.importance_cap, self.dtype = importance_cap, dtype
        self.ptx, self.ptx_weight = ptx, ptx_weight
        self.oldest_step, self.record = oldest_step, record
        self._held: tuple[int, Batch] | None = None

    @property
    def steps_per_rollout(self) -> int:
        """Steps that learn from one rollout."""
        return self.epochs * self.parts

    def next(self, step: int, model: ActorCritic) -> Batch:
        """The part of its rollout that `step` learns from."""
        number, inner = divmod(step, self.steps_per_rollout)
        batch = self._rollout(number, model, fresh=inner == 0)
        epoch, part = divmod(inner, self.parts)
        order = Permutation(len(batch), derive(self.sampler.seed, "rows", number, epoch)).all()
        parts = min(self.parts, len(batch))
        chosen = np.sort(np.array_split(order, parts)[part % parts])
        own = batch.pick(torch.from_numpy(chosen))
        return own if self.ptx is None else self._with_text(own, self.ptx.next(step, model))

    def state(self) -> dict[str, int | float | str]:
        """The scalars that, with a step and the weights, fix a rollout."""
        return {"source": "ppo", **self.sampler.state(), "epochs": self.epochs, "parts": self.parts}

    def resume(self, state: Scalars) -> None:
        """Refuse a saved state of other prompts, seed or shape. Raises Refused as `check_state`."""
        check_state(state, self.state())
        self._held = None

    def _rollout(self, number: int, model: ActorCritic, *, fresh: bool) -> Batch:
        if self._held is not None and self._held[0] == number and not fresh:
            return self._held[1]
        tensors = self._file(number, ".safetensors")
        if fresh:
            batch = self._make(number, model)
            save_batch(tensors, batch)
            self._prune()
        elif tensors.is_file():
            batch, _ = load_batch(tensors)
        else:
            raise Refused(
                f"{tensors}: the rollout that this step learns from is gone; start from an earlier checkpoint, or anew"
            )
        self._held = (number, batch)
        return batch

    def _make(self, number: int, model: ActorCritic) -> Batch:
        beta = self._beta(number)
        responses = self.sampler.sample(number, model.policy)
        rewards = self.reward(responses)
        known = [i for i, reward in enumerate(rewards) if reward is not None]
        judged = [responses[i] for i in known]
        scores = torch.tensor([float(rewards[i] or 0.0) for i in known])
        batch, places = pack(judged, self.length, self.sampler.tokenizer.pad)
        old, reference, values = self._read(model, batch)
        divergence, mask = _by_response(old - reference, places)
        per_token = token_rewards(scores, divergence, mask, beta) if judged else divergence
        worth, _ = _by_response(values, places)
        advantages, returns = generalised_advantages(per_token, worth, mask, gamma=self.gamma, lam=self.lam)
        # Of what the sampler thought less likely than the trainer does more is made, up to the cap.
        correction = importance_weights(old, batch.extra[SAMPLED], self.importance_cap)
        kept = batch.weights != 0
        differs = mismatch(old[kept], batch.extra[SAMPLED][kept], self.importance_cap)
        white = (
            _to_positions(whiten(advantages, mask), places, batch.weights) if judged else batch.weights * 0
        )
        kl = float(divergence.sum(1).mean()) if judged else 0.0
        after = self.control.after(beta, kl, len(judged))
        write_json(self._made(number), {"beta": beta, "after": after})
        figures = {
            "reward": float(scores.mean()) if judged else 0.0,
            "kl_per_sequence": kl,
            "beta": beta,
            **told(responses),
            "unscorable": 1 - len(judged) / len(responses),
            "value": float(values[kept].mean()) if judged else 0.0,
            "explained_variance": _explained(worth, returns, mask),
        }
        if judged:
            figures |= {name: float(found.mean()) for name, found in differs.items()}
            figures["sampler_gap_max"] = float(differs["sampler_gap"].max())
        self.record(number * self.steps_per_rollout + 1, responses, rewards, figures)
        extra = {
            ADVANTAGES: white * correction,
            OLD: old,
            VALUES: values,
            RETURNS: _to_positions(returns, places, batch.weights) if judged else batch.weights * 0,
        }
        return replace(batch, extra=extra)

    @torch.no_grad()
    def _read(self, model: ActorCritic, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Log-probabilities of the policy and of the reference, in the precision of the trainer, and values, all
        `[rows, length]`."""
        old, reference, values = (torch.zeros_like(batch.weights) for _ in range(3))
        device = model.policy.embedding.weight.device
        for start in range(0, len(batch), ROWS):
            part = batch.rows(start, start + ROWS)
            kept, part = part.weights != 0, part.to(device)
            with multiplying_in(self.dtype, device):
                own = response_logprobs(model.policy, part)
                with adapters_off(self.reference):
                    theirs = response_logprobs(self.reference, part)
            old[start : start + ROWS][kept] = own.float().cpu()
            reference[start : start + ROWS][kept] = theirs.float().cpu()
            worth = model.critic(part.tokens, part.positions, part.segments)[..., 0].float().cpu()
            values[start : start + ROWS] = torch.where(kept, worth, 0.0)
        return old, reference, values

    def _with_text(self, batch: Batch, text: Batch) -> Batch:
        """The batch with rows of other text below it."""
        zeros = torch.zeros_like(text.weights)
        added = replace(
            text,
            weights=zeros,
            extra={
                ADVANTAGES: zeros,
                OLD: zeros,
                VALUES: zeros,
                RETURNS: zeros,
                PTX: self.ptx_weight * text.weights,
            },
        )
        own = replace(batch, extra=batch.extra | {PTX: torch.zeros_like(batch.weights)})
        return Batch.cat([own, added])

    def _beta(self, number: int) -> float:
        if number == 0:
            return self.control.beta
        before = self._made(number - 1)
        if not before.is_file():
            if self.control.target is None:
                return self.control.beta
            raise Refused(f"{before}: it says how strongly to hold the policy, and is gone; start anew")
        return float(json.loads(before.read_text(encoding="utf-8"))["after"])

    def _file(self, number: int, suffix: str) -> Path:
        return self.folder / f"rollout-{number:06d}{suffix}"

    def _made(self, number: int) -> Path:
        return self._file(number, ".json")

    def _prune(self) -> None:
        """Remove rollouts that no checkpoint needs any more."""
        needed = self.oldest_step() // self.steps_per_rollout
        for path in self.folder.glob("rollout-*.safetensors"):
            if int(path.stem.removeprefix("rollout-")) < needed:
                path.unlink()


def _by_response(values: Tensor, places: Sequence[Place]) -> tuple[Tensor, Tensor]:
    """Numbers of each answer's tokens, `[responses, longest]`, and where there are any."""
    longest = max((len(answer) for _, answer in places), default=0)
    out, mask = torch.zeros(len(places), longest), torch.zeros(len(places), longest, dtype=torch.bool)
    for i, (row, answer) in enumerate(places):
        out[i, : len(answer)], mask[i, : len(answer)] = values[row, answer], True
    return out, mask


def _to_positions(values: Tensor, places: Sequence[Place], like: Tensor) -> Tensor:
    out = torch.zeros_like(like)
    for i, (row, answer) in enumerate(places):
        out[row, answer] = values[i, : len(answer)]
    return out


def _explained(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """The share of the variance of returns that the critic foresaw."""
    if mask.sum() < 2 or float(returns[mask].var()) == 0:
        return 0.0
    return 1 - float((returns[mask] - values[mask]).var() / returns[mask].var())
