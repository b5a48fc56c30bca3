"""The stage `reward`: a reward model, trained on comparisons of answers, with a report card.

The score is read at an answer's end token (arXiv 2203.02155). The card, on prompts that were held out, says whether the
model knows more than which answer is longer and which words are in it; one that doesn't is refused by the stages that
would maximise it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from exnihilo.core.config import ExamplesRef, ModelRef, why
from exnihilo.core.stage import Inputs, Stage
from exnihilo.model.lora_config import LoraConfig
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
    from exnihilo.align.card import Scored
    from exnihilo.align.preference_data import Encoded
    from exnihilo.core.workspace import Workspace
    from exnihilo.model.scorer import Scorer
    from exnihilo.model.scorer_folder import Scale
    from exnihilo.tokens.batch import Batch

STEP_TOKENS = 4096
RATE, RATE_EMBEDDING, ADAPTER_SHARE = 0.005, 0.001, 0.25
"""Default learning rates, a quarter of pretraining's, and of adapters as a share of what sft takes: the model is to
judge with what it knows."""


class RewardConfig(FitConfig):
    """Train a reward model on comparisons of answers."""

    model: ModelRef = Field(
        description="the model to start from",
        json_schema_extra=why(
            "there is no default: a reward model begins as the model that answers, since it has to read answers as "
            "well as that writes them (arXiv 2203.02155)",
            example="runs/mine/sft",
        ),
    )
    examples: ExamplesRef = Field(
        description="preferences: an examples artifact, or a file of any known format",
        json_schema_extra=why("there is no default: it is what is to be liked", example="preferences.jsonl"),
    )
    held_out: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="share of the prompts that the report card is made of; a folder's validation.jsonl comes first",
        json_schema_extra=why(
            "0.1: the card needs some hundred pairs for an interval of a few points. Whole prompts, since answers to "
            "one prompt resemble each other",
            example="0.2",
        ),
    )
    epochs: float | None = Field(
        default=None,
        gt=0,
        description="times that every comparison is read, instead of steps; 1 if neither is given",
        json_schema_extra=HORIZON
        | why("1: reward models overfit in their second (arXiv 2009.01325, 2203.02155)", example="2"),
    )
    centre: float = Field(
        default=0.01,
        ge=0,
        description="weight of the square of a pair's sum of scores",
        json_schema_extra=why(
            "0.01: comparisons fix differences alone, and this holds scores around 0 (arXiv 2312.09244)",
            example="0",
        ),
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
        description="tokens of a row, which holds all answers to a prompt; none: twice the model's context, where "
        "each answer fits that",
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
                "lr": "open, 0.005, a quarter of pretraining's: the model is to judge with what it knows; with lora a "
                "quarter of sft's",
                "lr_embedding": "open, 0.001, a quarter of pretraining's; the new head learns at it too",
            }
        },
    )

    @model_validator(mode="after")
    def _one_horizon(self) -> RewardConfig:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("steps and epochs both say how long to train; give one")
        if self.lora is not None and "lm_head" in self.lora.targets:
            raise ValueError(
                "lora.targets: a reward model has a head of its own instead of lm_head; leave it out"
            )
        return self


def run(config: RewardConfig, inputs: Inputs, work: Workspace) -> None:
    """Write the reward model's folder and its card. Refused for a model or preferences that are unfit."""
    import torch

    from exnihilo.align.card import report_card
    from exnihilo.align.preference_data import means, read_and_part
    from exnihilo.align.rewards import CARD
    from exnihilo.core.files import write_json
    from exnihilo.core.seeds import derive
    from exnihilo.model.adapters import add_lora
    from exnihilo.model.folder import load_with_tokenizer
    from exnihilo.model.scorer import Scorer
    from exnihilo.model.scorer_folder import save_scorer
    from exnihilo.objectives.reward import RewardComparisons
    from exnihilo.tokenizer.template import Renderer
    from exnihilo.tokens.comparisons import ComparisonRows
    from exnihilo.train import distributed
    from exnihilo.train.fit import fit

    start, examples = inputs["model"], inputs["examples"]
    assert isinstance(start, Path) and isinstance(examples, Path)
    decoder, tokenizer = load_with_tokenizer(start, distributed.device())
    renderer = Renderer(tokenizer)
    renderer.check()
    context = decoder.config.max_length
    length = config.length or 2 * context
    trained, kept = read_and_part(examples, renderer, length, context, config.held_out, work)
    torch.manual_seed(derive(work.seed, "head"))
    model = Scorer(decoder).to(distributed.device())
    adapters = None
    if config.lora is not None:  # the head, which is new, is trained in full beside them
        add_lora(decoder, config.lora, derive(work.seed, "lora"))
        adapters = ADAPTER_SHARE * adapter_rate(decoder.config.width)
    rows = config.rows or max(1, STEP_TOKENS // length)
    source = ComparisonRows(trained.comparisons, rows, length, derive(work.seed, "order"), pad=tokenizer.pad)
    steps = config.steps or max(1, round((config.epochs or 1.0) * source.rows_per_epoch / rows))
    objective = RewardComparisons(config.centre)
    batches = []
    if kept.comparisons:
        batches = list(ComparisonRows(kept.comparisons, rows, length, 0, pad=tokenizer.pad).once())

    def validate() -> dict[str, float]:
        return means(objective, model, batches)

    optimizer = open_rates(config.optimizer, RATE, RATE_EMBEDDING, adapters)
    settings = config.model_copy(update={"steps": steps, "optimizer": optimizer})
    result = fit(model, objective, source, settings, work, validate=validate if batches else None)
    scored, scale = _scored(model, trained, kept, batches)
    card: dict[str, Any] = (
        report_card(scored) if scored else {"pairs": 0, "passed": False, "verdict": "nothing was held out"}
    )
    if distributed.world()[0] == 0:
        save_scorer(model, tokenizer, scale, work.path)
        write_json(work.path / CARD, card)
    work.summary |= {
        **result.summary(),
        "comparisons": len(trained.comparisons),
        "held_out": len(kept.comparisons),
        "left_out": dict(trained.left_out),
        "accuracy": card.get("accuracy", {}).get("value"),
        "passed": card["passed"],
    }
    work.lines += [
        f"{len(trained.comparisons)} comparisons read {source.epochs(steps):.2f} times in {steps} steps",
        f"report card: {card['verdict']}",
    ]


def _scored(
    model: Scorer, trained: Encoded, kept: Encoded, batches: list[Batch]
) -> tuple[list[Scored], Scale]:
    """The held-out pairs with scores and baselines, and the scale that makes scores have mean 0 and spread 1."""
    import numpy as np
    import torch

    from exnihilo.align.baselines import BagOfWords, Baseline, Judged, Longer
    from exnihilo.align.card import Scored
    from exnihilo.align.preference_data import prompt_key
    from exnihilo.model.scorer_folder import Scale
    from exnihilo.objectives.segments import by_answer, segment_ends

    if not batches:
        return [], Scale.plain(("reward",))
    scores: dict[int, float] = {}
    model.eval()
    with torch.inference_mode():
        for batch in batches:
            ends = segment_ends(batch.segments)
            found = model.at(ends, batch.tokens, batch.positions, batch.segments)[:, :, 0]
            scores |= by_answer(found, batch)
    model.train()
    shown = [
        Judged.of(one, pair) for one in trained.preferences for pair in one.pairs if pair.certainty != 0.5
    ]
    baselines: dict[str, Baseline] = {"length": Longer(shown), "a bag of words": BagOfWords(shown)}
    prompts = {key: i for i, key in enumerate(dict.fromkeys(map(prompt_key, kept.preferences)))}
    pairs, first = [], 0
    for preference, comparison in zip(kept.preferences, kept.comparisons, strict=True):
        for pair in preference.pairs:
            judged = Judged.of(preference, pair)
            better, worse = (sum(comparison.answers[n][1]) for n in (pair.better, pair.worse))
            pairs.append(
                Scored(
                    prompt=prompts[prompt_key(preference)],
                    source=comparison.source,
                    better=scores[first + pair.better],
                    worse=scores[first + pair.worse],
                    better_length=better,
                    worse_length=worse,
                    margin=pair.margin,
                    certainty=pair.certainty,
                    baselines={name: baseline.gap(judged) for name, baseline in baselines.items()},
                )
            )
        first += len(comparison.answers)
    values = np.array(list(scores.values()))
    spread = float(values.std())
    return pairs, Scale(("reward",), (float(values.mean()),), (spread if spread > 0 else 1.0,))


STAGE = Stage("reward", "reward", RewardConfig, run, "Train a reward model on comparisons of answers.")
