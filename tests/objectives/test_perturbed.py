"""What is drawn in a step does not depend on how it is split, and nobody but the objective sees it."""

from __future__ import annotations

import pytest
import torch

from exnihilo.core.errors import Refused
from exnihilo.model.residual_dropout import ResidualDropout
from exnihilo.objectives.causal import causal, token_losses
from exnihilo.objectives.perturbed import Perturbed
from exnihilo.tokens.packing import ConversationRows
from exnihilo.tokens.row_seeds import SEED, RowSeeds
from exnihilo.train.step import Accumulator
from random_decoder import random_decoder

CONVERSATIONS = [
    ([7 + i, *range(9, 9 + size)], [False] + [True] * size) for i, size in enumerate([9, 4, 14, 6, 11])
]


def source(seed: int = 3) -> RowSeeds:
    return RowSeeds(ConversationRows(CONVERSATIONS, rows=3, length=16, seed=0, pad=2), seed)


def test_every_row_of_every_step_has_a_seed_of_its_own_and_always_the_same() -> None:
    seeds = [seed for step in range(5) for seed in source().next(step, None).extra[SEED].tolist()]
    assert len(set(seeds)) == 15
    again = source()
    again.resume(source().state())
    assert again.next(4, None).extra[SEED].tolist() == seeds[12:]
    assert source(4).next(4, None).extra[SEED].tolist() != seeds[12:]
    with pytest.raises(Refused, match="row_seeds was 3 and is 4"):
        source(4).resume(source().state())


@pytest.mark.parametrize(("alpha", "top"), [(5.0, 0.0), (None, 0.4), (5.0, 0.4)])
def test_the_gradient_of_a_step_is_that_of_any_split(alpha: float | None, top: float) -> None:
    model = random_decoder(40, depth=3)
    dropout = ResidualDropout(model, top) if top else None
    objective = Perturbed(causal, neftune_alpha=alpha, dropout=dropout)
    batch = source().next(2, None)

    def gradient(micro_rows: int | None, objective: object = objective) -> torch.Tensor:
        Accumulator(model, objective, micro_rows).gradients(batch)  # type: ignore[arg-type]
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    whole = gradient(None)
    for micro_rows in (1, 2):
        torch.testing.assert_close(gradient(micro_rows), whole, rtol=1e-4, atol=1e-6)
    assert (gradient(None, causal) - whole).norm() > 0.01 * whole.norm()


def test_validation_sees_the_model_as_it_is() -> None:
    model, batch = random_decoder(40, depth=3), source().next(0, None)
    plain, _ = token_losses(model, batch)
    objective = Perturbed(causal, neftune_alpha=50.0, dropout=ResidualDropout(model, 0.5))
    noisy, still = (one(model, batch).total.item() for one in (objective, causal))
    assert noisy != pytest.approx(still)
    assert torch.equal(token_losses(model, batch)[0], plain)
