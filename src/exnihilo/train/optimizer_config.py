"""What can be set about the optimizer and the learning rate's course. Imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from exnihilo.core.config import Config, why

DEFAULT_RATES = {"muon": (0.02, 0.004), "normuon": (0.02, 0.004), "adamw": (0.003, 0.003)}
"""Peak learning rates (of the matrices, of embedding, head and norms) where a config leaves them open; tried
on decoders of width 192."""


class OptimizerConfig(Config):
    """Muon or NorMuon for the matrices of the blocks and AdamW for the rest, or AdamW for everything."""

    name: Literal["muon", "normuon", "adamw"] = Field(
        default="muon",
        description="what trains the matrices of the blocks",
        json_schema_extra=why(
            "Muon orthogonalises each update (Jordan et al. 2024) and reaches a loss in fewer steps "
            "than AdamW; embedding, head and norms are no such matrices and stay with AdamW. NorMuon (arXiv "
            "2510.05491, with the iteration of 2505.16932) also makes every neuron's part of the update equally "
            "large: in short pretraining 0.01 bits per byte better, which three seeds could not tell from nothing, "
            "for 2 to 3 % more time; not tried in tuning"
        ),
    )
    lr: float | None = Field(
        default=None,
        ge=0,
        description="peak learning rate of the matrices; Muon's (and NorMuon's) is the spectral norm of an update "
        "(times √(rows/columns) of a tall matrix), so that it carries over between widths; with lora AdamW's, of the "
        "adapters",
        json_schema_extra=why(
            "open, pretrain takes 0.02 with Muon and NorMuon at any width and 0.003·√(192/width) with AdamW, both "
            "tried at width 192; sft takes a quarter, to change the manner and not what is known",
            example="0.01",
        ),
    )
    lr_embedding: float | None = Field(
        default=None,
        ge=0,
        description="peak learning rate of embedding, output head and norms, which AdamW trains",
        json_schema_extra=why(
            "open, pretrain takes 0.004 beside Muon and NorMuon, and the matrices' rate with AdamW; sft takes a "
            "quarter of 0.004 or 0.003",
            example="0.002",
        ),
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        description="decoupled decay of the matrices, per step and unit of learning rate",
        json_schema_extra=why(
            "0, since runs here read their text a few times at most; long runs with AdamW usually take "
            "0.1 (arXiv 2005.14165)",
            example="0.1",
        ),
    )
    betas: tuple[float, float] = Field(
        default=(0.9, 0.95),
        description="AdamW's decay of first and second moments",
        json_schema_extra=why(
            "0.95 instead of AdamW's 0.999 lets the second moment follow within 20 steps, as is usual "
            "for language models (arXiv 2005.14165)",
            example="0.9,0.99",
        ),
    )
    eps: float = Field(
        default=1e-8,
        gt=0,
        description="AdamW's floor under the root of the second moment",
        json_schema_extra=why("1e-8 is AdamW's own and only matters for gradients as small as that"),
    )
    momentum: float = Field(
        default=0.95,
        ge=0,
        lt=1,
        description="Muon's decay of the gradient average",
        json_schema_extra=why(
            "0.95 averages over about 20 steps, the value that Muon was published with",
            example="0.9",
        ),
    )
    nesterov: bool = Field(
        default=True,
        description="Muon looks one step ahead: gradient mixed with its average",
        json_schema_extra=why(
            "true, as Muon was published: the update already counts the newest gradient in full"
        ),
    )
    ns_steps: int = Field(
        default=5,
        ge=1,
        le=20,
        description="Muon's Newton–Schulz iterations",
        json_schema_extra=why(
            "5 bring singular values from 0.01 to 1 into about 0.7 to 1.2, NorMuon's from 0.001 into 0.86 to 1.12; "
            "more cost time and change little",
            example="6",
        ),
    )

    @field_validator("betas")
    @classmethod
    def _decays(cls, betas: tuple[float, float]) -> tuple[float, float]:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError("each must be at least 0 and below 1; 0.9 and 0.95 are usual")
        return betas


class ScheduleConfig(Config):
    """Learning rate over the run, as a share of the peak; a closed form of the step."""

    kind: Literal["linear", "cosine", "wsd", "constant"] = Field(
        default="linear",
        description="shape after the warm-up; wsd is warm-up, stable, linear cooldown",
        json_schema_extra=why(
            "linear, to zero: the simplest of the schedules that end well (arXiv 2502.15938); wsd "
            "where a run may be made longer afterwards",
            example="wsd",
        ),
    )
    warmup: float = Field(
        default=0.02,
        ge=0,
        description="linear warm-up: below 1 a share of the steps, otherwise steps",
        json_schema_extra=why(
            "a fiftieth of the run: output projections start at zero, which lets Muon's large steps "
            "begin almost at once",
            example="0.1",
        ),
    )
    cooldown: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="wsd: the share of the steps, at the end, that cools down",
        json_schema_extra=why(
            "half: 10 to 20 % are enough in long runs (arXiv 2405.18392), and short ones gain from "
            "more; the quickstart takes more than half",
            example="0.3",
        ),
    )
    final: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the peak that the decay arrives at after the last step",
        json_schema_extra=why(
            "0, since what is left of the rate at the end is noise in the weights (arXiv 2502.15938)",
            example="0.1",
        ),
    )
