"""The stage `dpo`: preference optimisation without a reward model (arXiv 2305.18290), and its kin.

KTO (arXiv 2402.01306) is among them: it learns from answers one by one, of pairs or judged by themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from exnihilo.core.config import ExamplesRef, ModelRef, why
from exnihilo.core.errors import Refused
from exnihilo.core.stage import Inputs, Stage
from exnihilo.model.lora_config import LoraConfig
from exnihilo.objectives.variants import WITHOUT_REFERENCE, Variant
from exnihilo.train.config import (
    HORIZON,
    LORA,
    LORA_WHY,
    FitConfig,
    OptimizerConfig,
    adapter_rate,
    open_rates,
)

if TYPE_CHECKING:
    from exnihilo.align.preference_data import Encoded
    from exnihilo.core.workspace import Workspace
    from exnihilo.objectives.loss import Objective

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
        description="preferences: an examples artifact, or a file of any known format; for kto also labelled answers",
        json_schema_extra=why("there is no default: it is what is to be liked", example="preferences.jsonl"),
    )
    variant: Variant | Literal["kto"] = Field(
        default="sigmoid",
        description="the loss: DPO (with certainties below 1 cDPO), SLiC, IPO of sums or of means a token, robust DPO, "
        "NCA, SPPO, APO, without a reference SimPO and ORPO, and KTO, of answers one by one",
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
    desirable_weight: float | None = Field(
        default=None,
        gt=0,
        description="what a desirable answer counts for beside an undesirable one; for kto",
        json_schema_extra=why(
            "open, 1 where there are 1 to 4/3 times as many desirable answers, else what makes both kinds weigh the "
            "same (arXiv 2402.01306): the rarer kind would be drowned by the other",
            example="1.2",
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
        if self.desirable_weight is not None and self.variant != "kto":
            raise ValueError(f"desirable_weight: {self.variant} weighs pairs; use kto, or drop it")
        if self.nll and self.variant == "kto":
            raise ValueError("nll: kto has no pairs whose better answer it could hold; drop it")
        return self


def run(config: DPOConfig, inputs: Inputs, work: Workspace) -> None:
    """Write the tuned model's folder. Refused for a model or preferences that are unfit."""
    import torch

    from exnihilo.align.mismatched import WithDivergence, mismatched
    from exnihilo.align.preference_data import means, read_and_part
    from exnihilo.align.reference import WithReference, reference_logprobs
    from exnihilo.core.seeds import derive
    from exnihilo.model.adapter_folder import fingerprint, save_tuned
    from exnihilo.model.adapters import add_lora
    from exnihilo.model.folder import load_with_tokenizer
    from exnihilo.model.precision import resolve_precision
    from exnihilo.tokenizer.template import Renderer
    from exnihilo.tokens.batch import Batch, Source
    from exnihilo.tokens.comparisons import Comparison, ComparisonRows
    from exnihilo.train import distributed
    from exnihilo.train.fit import fit

    start, examples = inputs["model"], inputs["examples"]
    assert isinstance(start, Path) and isinstance(examples, Path)
    model, tokenizer = load_with_tokenizer(start, distributed.device())
    renderer = Renderer(tokenizer)
    renderer.check()
    context = model.config.max_length
    length = config.length or 2 * context
    kto = config.variant == "kto"
    trained, kept = read_and_part(examples, renderer, length, context, config.held_out, work, labels=kto)
    rows = config.rows or max(1, STEP_TOKENS // length)
    dtype = resolve_precision(config.precision, next(model.parameters()).device)
    # What the reference reads: both sides, and for kto answers to other prompts of each.
    parts: list[list[Comparison]] = [trained.comparisons, kept.comparisons]
    if kto:
        longest = min(context, length)
        parts += [mismatched(part, longest, derive(work.seed, "mismatched")) for part in parts]
        if not parts[2]:
            raise Refused(
                f"{examples}: kto wants prompts with answers to other prompts, and has none; give prompts that differ"
            )
    comparisons = [one for part in parts for one in part]
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
            dtype=dtype,
            folder=work.checkpoints / "reference",
            work=work,
        )
    references = torch.split(reference, [sum(len(one.answers) for one in part) for part in parts])
    if config.lora is not None:
        add_lora(model, config.lora, derive(work.seed, "lora"))

    def source_of(part: int, seed: int) -> WithReference:
        packed = ComparisonRows(parts[part], rows, length, seed, pad=tokenizer.pad)
        return WithReference(packed, references[part])

    compared = source_of(0, derive(work.seed, "order"))
    source: Source = compared
    if kto:
        source = WithDivergence(compared, source_of(2, derive(work.seed, "others")), dtype)
    objective = _objective(config, trained, work)
    epoch = compared.source.rows_per_epoch
    steps = config.steps or max(1, round((config.epochs or 1.0) * epoch / rows))
    batches: list[Batch] = []
    if all(parts[1::2]):
        held_out = source_of(1, 0)
        batches = [held_out.added(batch) for batch in held_out.source.once()]

    def validate() -> dict[str, float]:
        if kto:
            others = source_of(3, 0)
            WithDivergence(held_out, others, dtype).add(batches, others.source.once(), model)
        return means(objective, model, batches)

    adapters = None if config.lora is None else ADAPTER_SHARE * adapter_rate(model.config.width)
    optimizer = open_rates(config.optimizer, RATE, RATE_EMBEDDING, adapters)
    settings = config.model_copy(update={"steps": steps, "optimizer": optimizer})
    result = fit(model, objective, source, settings, work, validate=validate if batches else None)
    save_tuned(model, start, work.path)
    work.summary |= {
        **result.summary(),
        "comparisons": len(trained.comparisons),
        "held_out": len(kept.comparisons),
        "left_out": dict(trained.left_out),
    }
    work.lines.append(
        f"{len(trained.comparisons)} {'judgements' if kto else 'comparisons'} read "
        f"{compared.source.epochs(steps):.2f} times in {steps} steps"
    )


def _objective(config: DPOConfig, trained: Encoded, work: Workspace) -> Objective:
    """The loss that is asked for. Of kto's it is told how many answers of each kind there are, and what they count."""
    from exnihilo.objectives.direct import DirectPreference
    from exnihilo.objectives.labelled import LabelledAnswers

    beta = config.beta or (2.0 if config.variant == "simpo" else 0.1)
    if config.variant != "kto":
        return DirectPreference(
            config.variant, beta=beta, flipped=config.flipped, margin=config.margin, nll=config.nll
        )
    labels = [one.label for one in trained.comparisons]
    # A pair, whose label is None, is one of each.
    good, bad = (sum(label is not unlike for label in labels) for unlike in (False, True))
    # λ_D n_D / λ_U n_U is to be from 1 to 4/3, and λ_U is 1 (arXiv 2402.01306).
    balanced = not good or not bad or bad <= good <= 4 / 3 * bad
    weight = config.desirable_weight or (1.0 if balanced else bad / good)
    work.lines.append(
        f"{good} desirable answers and {bad} others, of which a desirable one counts {weight:.3g} times as much"
    )
    return LabelledAnswers(beta=beta, desirable=weight)


STAGE = Stage("dpo", "model", DPOConfig, run, "Preference optimisation without a reward model.")
