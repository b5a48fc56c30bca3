"""An objective under noise: NEFTune's on the embeddings, and residual dropout."""

from __future__ import annotations

from contextlib import ExitStack

from exnihilo.model.decoder import Decoder
from exnihilo.model.neftune import embedding_noise, noisy_embedding
from exnihilo.model.residual_dropout import ResidualDropout
from exnihilo.objectives.loss import Loss, Objective
from exnihilo.tokens.batch import Batch
from exnihilo.tokens.row_seeds import SEED


class Perturbed:
    """`objective` on a model that is disturbed for the length of its pass, by the seeds that `RowSeeds` gave the rows.

    Whoever asks the model itself, such as validation, finds it undisturbed.
    """

    def __init__(
        self, objective: Objective, *, neftune_alpha: float | None, dropout: ResidualDropout | None
    ) -> None:
        self.objective, self.neftune_alpha, self.dropout = objective, neftune_alpha, dropout

    def __call__(self, model: Decoder, batch: Batch) -> Loss:
        seeds = batch.extra[SEED].tolist()
        with ExitStack() as disturbed:
            if self.neftune_alpha is not None:
                noise = embedding_noise(batch.segments, seeds, model.config.width, self.neftune_alpha)
                disturbed.enter_context(noisy_embedding(model, noise))
            if self.dropout is not None:
                disturbed.enter_context(self.dropout.drawn(seeds, batch.length, batch.tokens.device))
            return self.objective(model, batch)
