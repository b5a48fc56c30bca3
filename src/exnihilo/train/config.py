"""What can be set about a training run: optimizer, schedule, and the loop itself. Imports no torch."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from exnihilo.core.config import Config, Count, why
from exnihilo.core.errors import ConfigError
from exnihilo.model.config import head_misfit
from exnihilo.model.lora_config import LoraConfig
from exnihilo.train.optimizer_config import DEFAULT_RATES, OptimizerConfig, ScheduleConfig

__all__ = [
    "COMPILE",
    "COMPILE_WHY",
    "COSMETIC",
    "DEFAULT_RATES",
    "HORIZON",
    "LORA",
    "LORA_WHY",
    "Compile",
    "FitConfig",
    "ModelShape",
    "OptimizerConfig",
    "ScheduleConfig",
    "adapter_rate",
    "check_length",
    "check_sampled",
    "open_rates",
]

COSMETIC: dict[str, Any] = {"cosmetic": True}
"""Marks a field that changes records only, never the trained weights."""
HORIZON: dict[str, Any] = {"horizon": True}
"""Marks a field that a run under way may be continued with after it changed."""


Compile = Literal["auto", "always", "never"]
COMPILE = "compile the blocks, for faster steps after a slow first one; auto: where the run is long enough"
"""The description of a stage's key `compile`."""
COMPILE_WHY = why(
    "auto: a step takes 0.70 to 0.85 of its time on two cores, and compiling some 15 s the first time on a machine "
    "and 2 s then, which a run of more than 2e13 FLOPs (a minute there) earns back",
    example="never",
)
LORA = "train low-rank adapters instead of the model itself; none: all of the model is trained"
"""The description of a stage's section `lora`."""
LORA_WHY = why(
    "none: on models of some million parameters tuning all of them costs little more; adapters pay where optimizer "
    "state does not fit, or where many tunings of one base are to be kept"
)


def check_length(length: int, context: int) -> None:
    """Raise ConfigError for rows of more tokens than the model's context."""
    if length > context:
        raise ConfigError(f"length: {length} tokens, and the model's context is {context}; give at most that")


def check_sampled(lora: LoraConfig | None) -> None:
    """Raise ValueError for adapters that a policy can't be sampled with."""
    if lora is not None and lora.dropout:
        raise ValueError(
            "lora.dropout: answers are sampled without it, so that the probability ratios would not begin at 1; give 0"
        )


def adapter_rate(width: int) -> float:
    """Peak learning rate of low-rank adapters where a config leaves it open.

    0.01 up to width 192: tuning the quickstart's base, held-out loss was 0.99 after 80 steps and 1.15 with 0.003 (one
    seed). At width 4096 it is the 5e-4 that is customary there; between the two it is a guess.
    """
    return 0.01 * min(1.0, 192 / width)


def open_rates(
    given: OptimizerConfig, matrices: float, embeddings: float, adapters: float | None
) -> OptimizerConfig:
    """An optimizer with the rates that its config leaves open: those of Muon for `matrices`, or that of low-rank
    `adapters` where they are trained instead, and of `embeddings` and heads.

    Raises ConfigError where AdamW is to train the matrices: its rates are others.
    """
    if given.name == "adamw" and adapters is None and given.lr is None:
        raise ConfigError(
            "optimizer.lr: open, and of AdamW there is no default here yet; give one, such as 1e-4"
        )
    lr = matrices if adapters is None else adapters
    return given.model_copy(
        update={
            "lr": lr if given.lr is None else given.lr,
            "lr_embedding": embeddings if given.lr_embedding is None else given.lr_embedding,
        }
    )


class ModelShape(Config):
    """How large the model is: one dial, `params` or `depth`; what is not given is derived."""

    params: Count | None = Field(
        default=None,
        ge=1000,
        description="parameters in all, embedding included; sets depth and width",
        json_schema_extra=why(
            "open, four readings of the corpus at 20 tokens a parameter (arXiv 2203.15556, "
            "2305.16264), at most 5M, which two CPU cores train in minutes",
            example="3M",
        ),
    )
    depth: int | None = Field(
        default=None,
        ge=1,
        description="blocks; sets the width, unless that is given",
        json_schema_extra=why(
            "open, it follows from params, or from the width at about 48 a block: from 30 to 100 "
            "models of equal size are about equally good (arXiv 2001.08361, figure 5)",
            example="6",
        ),
    )
    width: int | None = Field(
        default=None,
        ge=8,
        description="size of the residual stream",
        json_schema_extra=why(
            "open, about 48 for each block, in multiples of 64, which multiply faster than sizes between",
            example="256",
        ),
    )
    heads: int | None = Field(
        default=None,
        ge=1,
        description="query heads",
        json_schema_extra=why(
            "open, as many as fill the width with heads of 64, or of 32 or 16 where two of 64 do not fit",
            example="4",
        ),
    )
    kv_heads: int | None = Field(
        default=None,
        ge=1,
        description="key and value heads; none: as many as heads",
        json_schema_extra=why(
            "open, as many as query heads: sharing saves memory of long contexts (arXiv 2305.13245), "
            "and these contexts are short",
            example="2",
        ),
    )
    head_dim: int | None = Field(
        default=None,
        ge=2,
        description="size of a head; even",
        json_schema_extra=why(
            "open, the largest of 64, 32 and 16 that fits twice into the width",
            example="64",
        ),
    )
    hidden: int | None = Field(
        default=None,
        ge=8,
        description="inner size of the feed-forward network",
        json_schema_extra=why(
            "open, 8/3 of the width in multiples of 32: the gated network has three matrices, and so "
            "costs what two with four times the width do (arXiv 2002.05202)",
            example="512",
        ),
    )
    tied: bool = Field(
        default=True,
        description="the output head is the embedding matrix",
        json_schema_extra=why(
            "true, since a matrix of its own would be 15 % more parameters in a model of 2.6M with 2,048 ids"
        ),
    )
    rope_theta: float = Field(
        default=10_000.0,
        gt=0,
        description="base of the rotary frequencies",
        json_schema_extra=why(
            "10,000 is the value of arXiv 2104.09864 and is enough for contexts of some thousand "
            "tokens; longer ones take more"
        ),
    )
    max_length: int | None = Field(
        default=None,
        ge=2,
        description="context in tokens; none: the training length",
        json_schema_extra=why(
            "open, the training length: positions beyond it were never trained",
            example="512",
        ),
    )

    @model_validator(mode="after")
    def _one_dial(self) -> ModelShape:
        given = [name for name in ("depth", "width") if getattr(self, name) is not None]
        if self.params is not None and given:
            raise ValueError(
                f"params and {' and '.join(given)} both set the size; give params alone, or drop it"
            )
        # What is left open is derived so that it fits.
        heads = self.heads or self.kv_heads or 1
        misfit = head_misfit(heads, self.kv_heads or heads, self.head_dim or 2)
        if misfit is not None:
            raise ValueError(misfit)
        return self


class FitConfig(Config):
    """The training loop."""

    steps: int | None = Field(
        default=None,
        ge=1,
        description="optimizer steps",
        json_schema_extra=HORIZON
        | why(
            "open, pretrain counts them from train_tokens or from the corpus, sft from epochs, and "
            "grpo wants them given. A length in steps is the same on any machine, one in seconds is not",
            example="1000",
        ),
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="float32",
        description="of matrix products; auto: bfloat16 where the processor has units for it, float32 elsewhere",
        json_schema_extra=why(
            "float32 is the reference that every faster path is tested against. The recipes say auto: "
            "with bfloat16 units a batch took 0.16 instead of 0.27 s on two cores (one measurement, "
            "machine not idle)",
            example="auto",
        ),
    )
    micro_rows: int | None = Field(
        default=None,
        ge=1,
        description="rows per forward pass, to save memory; the update does not depend on it",
        json_schema_extra=HORIZON
        | why(
            "open, all rows at once, which is fastest; out of memory, it is halved by itself",
            example="4",
        ),
    )
    optimizer: OptimizerConfig = Field(default=OptimizerConfig(), description="optimizer and learning rates")
    schedule: ScheduleConfig = Field(default=ScheduleConfig(), description="learning rate over the run")
    clip: float | None = Field(
        default=1.0,
        gt=0,
        description="limit of the global gradient norm; none: no clipping",
        json_schema_extra=why(
            "1, as usual for language models (arXiv 2005.14165): a rare steep gradient is shortened, "
            "common ones are below it soon after the warm-up",
            example="0.5",
        ),
    )
    outlier_sigma: float | None = Field(
        default=6.0,
        gt=0,
        description="skip a step whose loss or norm is so far above the last 128 accepted; none: never",
        json_schema_extra=why(
            "6: six standard deviations above the mean of the last 128 steps is a bad batch and no "
            "chance; one such step can undo hundreds",
            example="8",
        ),
    )
    ema: float = Field(
        default=0.98,
        ge=0,
        lt=1,
        description="decay of the averaged loss that is shown",
        json_schema_extra=COSMETIC
        | why(
            "0.98 averages over about 50 steps, which is where the noise of single batches is gone",
            example="0.95",
        ),
    )
    log_every: int = Field(
        default=10,
        ge=1,
        description="steps between lines of metrics.jsonl",
        json_schema_extra=COSMETIC
        | why(
            "10: a line each ten steps shows a curve's shape in a few kilobytes; 1 shows every batch's noise",
            example="1",
        ),
    )
    validate_every: int | None = Field(
        default=None,
        ge=0,
        description="steps between validations; none: a tenth of the run; 0: only at the end",
        json_schema_extra=COSMETIC
        | why(
            "open, ten times a run: each reads validation_rows rows, about as much work as a step or two",
            example="100",
        ),
    )
    sample_every: int | None = Field(
        default=None,
        ge=0,
        description="steps between samples; none: an eighth of the run; 0: only at the end",
        json_schema_extra=COSMETIC
        | why(
            "open, eight times a run, the moments that the report's slider shows",
            example="100",
        ),
    )
    checkpoint_every: int | None = Field(
        default=None,
        ge=0,
        description="steps between checkpoints; none: a tenth of the run, at most 500; 0: only at the end",
        json_schema_extra=COSMETIC
        | why(
            "open, ten times a run, so that a killed run has lost a tenth at most, and every 500 steps "
            "in long ones",
            example="250",
        ),
    )
    norms_every: int = Field(
        default=0,
        ge=0,
        description="steps between lines of norms.jsonl (norms of weights, gradients, updates); 0: none",
        json_schema_extra=COSMETIC
        | why(
            "0, since few look at them, and a line is some kilobytes and copies the weights once; each "
            "tenth step shows which layers move too fast or not at all",
            example="10",
        ),
    )
    profile: bool = Field(
        default=False,
        description="profile one step: trace.json, and a table of the ten operations that take most time",
        json_schema_extra=COSMETIC
        | why(
            "false, since the step that is profiled is slower, and the trace takes some megabytes; it is "
            "the third of a session, when nothing is allocated any more",
        ),
    )
    keep: int = Field(
        default=2,
        ge=1,
        description="checkpoints kept, besides the best and the last good one",
        json_schema_extra=COSMETIC
        | why(
            "2, so that one is left where the newest turns out to be damaged; each has two to three "
            "times the model's size",
            example="5",
        ),
    )

    @model_validator(mode="after")
    def _warms_up(self) -> Self:
        if self.steps is not None and self.steps <= self.schedule.warmup:
            raise ValueError(
                f"schedule.warmup is {self.schedule.warmup:g} steps, and the training has {self.steps}; "
                "give fewer, or a share of the steps below 1"
            )
        return self
