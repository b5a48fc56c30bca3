"""What can be set about a training run: optimizer, schedule, and the loop itself. Imports no torch."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from exnihilo.core.config import Config, Count

COSMETIC: dict[str, Any] = {"cosmetic": True}
"""Marks a field that changes records only, never the trained weights."""
HORIZON: dict[str, Any] = {"horizon": True}
"""Marks a field that a run under way may be continued with after it changed."""


DEFAULT_RATES = {"muon": (0.02, 0.004), "adamw": (0.003, 0.003)}
"""Peak learning rates (of the matrices, of embedding, head and norms) where a config leaves them open; tried
on decoders of width 192."""


class ModelShape(Config):
    """How large the model is: one dial, `params` or `depth`; what is not given is derived."""

    params: Count | None = Field(
        default=None, ge=1000, description="parameters in all, embedding included; sets depth and width"
    )
    depth: int | None = Field(default=None, ge=1, description="blocks; sets the width, unless that is given")
    width: int | None = Field(default=None, ge=8, description="size of the residual stream")
    heads: int | None = Field(default=None, ge=1, description="query heads")
    kv_heads: int | None = Field(
        default=None, ge=1, description="key and value heads; none: as many as heads"
    )
    head_dim: int | None = Field(default=None, ge=2, description="size of a head; even")
    hidden: int | None = Field(default=None, ge=8, description="inner size of the feed-forward network")
    tied: bool = Field(default=True, description="the output head is the embedding matrix")
    rope_theta: float = Field(default=10_000.0, gt=0, description="base of the rotary frequencies")
    max_length: int | None = Field(
        default=None, ge=2, description="context in tokens; none: the training length"
    )

    @model_validator(mode="after")
    def _one_dial(self) -> ModelShape:
        given = [name for name in ("depth", "width") if getattr(self, name) is not None]
        if self.params is not None and given:
            raise ValueError(
                f"params and {' and '.join(given)} both set the size; give params alone, or drop it"
            )
        return self


class OptimizerConfig(Config):
    """Muon for the matrices of the blocks and AdamW for the rest, or AdamW for everything."""

    name: Literal["muon", "adamw"] = Field(
        default="muon", description="what trains the matrices of the blocks"
    )
    lr: float | None = Field(
        default=None,
        ge=0,
        description="peak learning rate of the matrices; Muon's is the spectral norm of an update (times "
        "√(rows/columns) of a tall matrix), so that it carries over between widths",
    )
    lr_embedding: float | None = Field(
        default=None,
        ge=0,
        description="peak learning rate of embedding, output head and norms, which AdamW trains",
    )
    weight_decay: float = Field(
        default=0.0, ge=0, description="decoupled decay of the matrices, per step and unit of learning rate"
    )
    betas: tuple[float, float] = Field(
        default=(0.9, 0.95), description="AdamW's decay of first and second moments"
    )
    eps: float = Field(default=1e-8, gt=0, description="AdamW's floor under the root of the second moment")
    momentum: float = Field(default=0.95, ge=0, lt=1, description="Muon's decay of the gradient average")
    nesterov: bool = Field(
        default=True, description="Muon looks one step ahead: gradient mixed with its average"
    )
    ns_steps: int = Field(default=5, ge=1, le=20, description="Muon's Newton–Schulz iterations")


class ScheduleConfig(Config):
    """Learning rate over the run, as a share of the peak; a closed form of the step."""

    kind: Literal["linear", "cosine", "wsd", "constant"] = Field(
        default="linear", description="shape after the warm-up; wsd is warm-up, stable, linear cooldown"
    )
    warmup: float = Field(
        default=0.02, ge=0, description="linear warm-up: below 1 a share of the steps, otherwise steps"
    )
    cooldown: float = Field(
        default=0.5, gt=0, le=1, description="wsd: the share of the steps, at the end, that cools down"
    )
    final: float = Field(
        default=0.0, ge=0, le=1, description="share of the peak that the decay arrives at after the last step"
    )


class FitConfig(Config):
    """The training loop."""

    steps: int | None = Field(default=None, ge=1, description="optimizer steps", json_schema_extra=HORIZON)
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="float32",
        description="of matrix products; auto: bfloat16 where the processor has units for it, float32 elsewhere",
    )
    micro_rows: int | None = Field(
        default=None,
        ge=1,
        description="rows per forward pass, to save memory; the update does not depend on it",
        json_schema_extra=HORIZON,
    )
    optimizer: OptimizerConfig = Field(default=OptimizerConfig(), description="optimizer and learning rates")
    schedule: ScheduleConfig = Field(default=ScheduleConfig(), description="learning rate over the run")
    clip: float | None = Field(
        default=1.0, gt=0, description="limit of the global gradient norm; none: no clipping"
    )
    outlier_sigma: float | None = Field(
        default=6.0,
        gt=0,
        description="skip a step whose loss or norm is so far above the last 128 accepted; none: never",
    )
    ema: float = Field(
        default=0.98,
        ge=0,
        lt=1,
        description="decay of the averaged loss that is shown",
        json_schema_extra=COSMETIC,
    )
    log_every: int = Field(
        default=10, ge=1, description="steps between lines of metrics.jsonl", json_schema_extra=COSMETIC
    )
    validate_every: int | None = Field(
        default=None,
        ge=0,
        description="steps between validations; none: a tenth of the run; 0: only at the end",
        json_schema_extra=COSMETIC,
    )
    sample_every: int | None = Field(
        default=None,
        ge=0,
        description="steps between samples; none: an eighth of the run; 0: only at the end",
        json_schema_extra=COSMETIC,
    )
    checkpoint_every: int | None = Field(
        default=None,
        ge=0,
        description="steps between checkpoints; none: a tenth of the run, at most 500; 0: only at the end",
        json_schema_extra=COSMETIC,
    )
    keep: int = Field(
        default=2, ge=1, description="checkpoints kept, besides the best", json_schema_extra=COSMETIC
    )
