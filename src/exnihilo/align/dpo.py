"""The stage `dpo`: preference optimisation without a reward model (arXiv 2305.18290), and its kin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from exnihilo.core.config import ExamplesRef, ModelRef, why
from exnihilo.core.errors import ConfigError
from exnihilo.core.stage import Inputs, Stage
from exnihilo.model.lora_config import LoraConfig
from exnihilo.objectives.variants import WITHOUT_REFERENCE, Variant
from exnihilo.train.config import HORIZON, LORA, LORA_WHY, FitConfig, OptimizerConfig, adapter_rate

if TYPE_CHECKING:
    from exnihilo.core.workspace import Workspace

STEP_TOKENS = 4096
RATE, RATE_EMBEDDING, ADAPTER_SHARE = 0.002, 0.0004, 0.1
"""Default learning rates: of the matrices, with Muon, a tenth of pretraining's; of low-rank adapters, as a share of
what sft takes."""


class DPOConfig(FitConfig):
    """Make preferred answers more likely and the others less, held near the starting model."""

    model: ModelRef = Field(
        description="the model to start from; it is also the reference",
        json_schema_extra=why(
            "there is no default: it should have been fine-tuned on answers like those that are compared (arXiv "
            "2305.18290)",
            example="runs/mine/sft",
        ),
    )
    examples: ExamplesRef = Field(
        description="preferences: an examples artifact, or a file of any known format",
        json_schema_extra=why("there is no default: it is what is to be liked", example="preferences.jsonl"),
    )
    variant: Variant = Field(
        default="sigmoid",
        description="the loss: DPO (with certainties below 1 cDPO), SLiC, IPO of sums or of means a token, robust DPO, "
        "NCA, SPPO, APO, and without a reference SimPO and ORPO",
        json_schema_extra=why(
            "sigmoid, DPO as it was published: the one that most is known about", example="ipo"
        ),
    )
    beta: float | None = Field(
        default=None,
        gt=0,
        description="temperature of the loss: the larger, the nearer to the reference; open: 0.1, of simpo 2",
        json_schema_extra=why(
            "open, 0.1 for losses of sums (arXiv 2305.18290), 2 for simpo, which is of means (arXiv 2405.14734)",
            example="0.3",
        ),
    )
    flipped: float = Field(
        default=0.0,
        ge=0,
        lt=0.5,
        description="share of the labels that is taken to be wrong; for sigmoid and robust",
        json_schema_extra=why("0: nothing is known about it until it has been measured", example="0.1"),
    )
    margin: float = Field(
        default=0.0,
        ge=0,
        description="by how much the better answer is to be ahead; for simpo",
        json_schema_extra=why(
            "0: of means a token a margin is large soon; a quarter to half of beta is usual (arXiv 2405.14734)",
            example="0.5",
        ),
    )
    nll: float = Field(
        default=0.0,
        ge=0,
        description="weight of the better answer's cross-entropy a token beside the loss",
        json_schema_extra=why(
            "0, DPO as it was published; the better answer's probability may then fall too, only less than the "
            "other's. 0.2 was used for Llama 3 (arXiv 2407.21783)",
            example="0.2",
        ),
    )
    held_out: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="share of the prompts to validate on; a folder's validation.jsonl comes first",
        json_schema_extra=why("0.1, as the reward model's report card takes", example="0.2"),
    )
    epochs: float | None = Field(
        default=None,
        gt=0,
        description="times that every comparison is read, instead of steps; 1 if neither is given",
        json_schema_extra=HORIZON | why("1: further readings mostly lower both answers", example="2"),
    )
    lora: LoraConfig | None = Field(default=None, description=LORA, json_schema_extra=LORA_WHY)
    rows: int | None = Field(
        default=None,
        ge=1,
        description="rows of comparisons in a step; none: 4,096 tokens",
        json_schema_extra=why("open, 4,096 tokens in a step, as sft takes", example="8"),
    )
    length: int | None = Field(
        default=None,
        ge=2,
        description="tokens of a row, which holds all answers to a prompt; none: twice the model's context",
        json_schema_extra=why(
            "open, twice the model's context: two answers of full length. What is longer is left out, and counted",
            example="512",
        ),
    )
    optimizer: OptimizerConfig = Field(
        default=OptimizerConfig(),
        description="optimizer and learning rates",
        json_schema_extra={
            "whys": {
                "lr": "open, 0.002, a tenth of pretraining's: a policy far from its reference is no longer told about "
                "by the comparisons; with lora a tenth of sft's",
                "lr_embedding": "open, 0.0004, a tenth of pretraining's",
            }
        },
    )

    @model_validator(mode="after")
    def _consistent(self) -> DPOConfig:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("steps and epochs both say how long to train; give one")
        if self.flipped and self.variant not in ("sigmoid", "robust"):
            raise ValueError(f"flipped: {self.variant} takes no share of wrong labels; use sigmoid or robust")
        if self.margin and self.variant != "simpo":
            raise ValueError(f"margin: {self.variant} has none; use simpo, or drop it")
        return self


def run(config: DPOConfig, inputs: Inputs, work: Workspace) -> None:
    """Write the tuned model's folder. Refused for a model or preferences that are unfit."""
    import torch

    from exnihilo.align.preference_data import means, read_and_part
    from exnihilo.align.reference import WithReference, reference_logprobs
    from exnihilo.core.seeds import derive
    from exnihilo.model.adapter_folder import fingerprint, save_tuned
    from exnihilo.model.adapters import add_lora
    from exnihilo.model.folder import load_with_tokenizer
    from exnihilo.model.precision import resolve_precision
    from exnihilo.objectives.direct import DirectPreference
    from exnihilo.tokenizer.template import Renderer
    from exnihilo.tokens.comparisons import ComparisonRows
    from exnihilo.train import distributed
    from exnihilo.train.fit import fit

    start, examples = inputs["model"], inputs["examples"]
    assert isinstance(start, Path) and isinstance(examples, Path)
    model, tokenizer = load_with_tokenizer(start, distributed.device())
    renderer = Renderer(tokenizer)
    renderer.check()
    context = model.config.max_length
    length = config.length or 2 * context
    trained, kept = read_and_part(examples, renderer, length, context, config.held_out, work)
    rows = config.rows or max(1, STEP_TOKENS // length)
    source = ComparisonRows(trained.comparisons, rows, length, derive(work.seed, "order"), pad=tokenizer.pad)
    comparisons = [*trained.comparisons, *kept.comparisons]
    if config.variant in WITHOUT_REFERENCE:
        reference = torch.zeros(sum(len(one.answers) for one in comparisons))
    else:
        # Before the first step the policy is the reference: no second model is needed.
        reference = reference_logprobs(
            model,
            comparisons,
            model_hash=fingerprint(model),
            rows=rows,
            length=length,
            pad=tokenizer.pad,
            dtype=resolve_precision(config.precision, next(model.parameters()).device),
            folder=work.checkpoints / "reference",
            work=work,
        )
    if config.lora is not None:
        add_lora(model, config.lora, derive(work.seed, "lora"))
    objective = DirectPreference(
        config.variant,
        beta=config.beta or (2.0 if config.variant == "simpo" else 0.1),
        flipped=config.flipped,
        margin=config.margin,
        nll=config.nll,
    )
    steps = config.steps or max(1, round((config.epochs or 1.0) * source.rows_per_epoch / rows))
    first = sum(len(one.answers) for one in trained.comparisons)
    batches = []
    if kept.comparisons:
        held_out = ComparisonRows(kept.comparisons, rows, length, 0, pad=tokenizer.pad)
        added = WithReference(held_out, reference[first:])
        batches = [added.added(batch) for batch in held_out.once()]

    def validate() -> dict[str, float]:
        return means(objective, model, batches)

    settings = config.model_copy(update={"steps": steps, "optimizer": _optimizer(config, model.config.width)})
    result = fit(
        model,
        objective,
        WithReference(source, reference[:first]),
        settings,
        work,
        validate=validate if batches else None,
    )
    save_tuned(model, start, work.path)
    work.summary |= {
        **result.summary(),
        "comparisons": len(trained.comparisons),
        "held_out": len(kept.comparisons),
        "left_out": dict(trained.left_out),
    }
    work.lines.append(
        f"{len(trained.comparisons)} comparisons read {source.epochs(steps):.2f} times in {steps} steps"
    )


def _optimizer(config: DPOConfig, width: int) -> OptimizerConfig:
    """The rates that are left open."""
    given = config.optimizer
    if given.name == "adamw" and config.lora is None and given.lr is None:
        raise ConfigError(
            "optimizer.lr: open, and AdamW's for dpo has no default yet; give one, such as 1e-4"
        )
    lr = RATE if config.lora is None else ADAPTER_SHARE * adapter_rate(width)
    return given.model_copy(
        update={
            "lr": lr if given.lr is None else given.lr,
            "lr_embedding": RATE_EMBEDDING if given.lr_embedding is None else given.lr_embedding,
        }
    )


STAGE = Stage("dpo", "model", DPOConfig, run, "Preference optimisation without a reward model.")
