"""The stage `reward`: a reward model, trained on comparisons of answers, with a report card.

The score is read at an answer's end token (arXiv 2203.02155). The card, on prompts that were held out, says whether the
model knows more than which answer is longer and which words are in it; one that doesn't is refused by the stages that
would maximise it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
    aspects: list[str] = Field(
        default=[],
        description="respects in which answers are judged apart, each with a head of its own: rows whose field aspect "
        "names one of them are read; none: all rows, as one",
        json_schema_extra=why(
            "none, one number. What is safe and what is helpful contradict each other too often for one (arXiv "
            "2307.09288); two models, each of one aspect, share nothing that a policy could deceive",
            example="helpfulness,safety",
        ),
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
    def _consistent(self) -> RewardConfig:
        doubled = [name for name in self.aspects if self.aspects.count(name) > 1]
        if doubled:
            raise ValueError(f"aspects: {doubled[0]!r} is named twice; name it once")
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

    from exnihilo.align.card import card_of, cards_of, report_card
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
    trained, kept = read_and_part(examples, renderer, length, context, config.held_out, work, config.aspects)
    aspects = tuple(config.aspects) or ("reward",)
    torch.manual_seed(derive(work.seed, "head"))
    model = Scorer(decoder, len(aspects)).to(distributed.device())
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
    scored, scale = _scored(model, trained, kept, batches, aspects)
    card = card_of({name: report_card(pairs) for name, pairs in scored.items()})
    if distributed.world()[0] == 0:
        save_scorer(model, tokenizer, scale, work.path)
        write_json(work.path / CARD, card)
    work.summary |= {
        **result.summary(),
        "comparisons": len(trained.comparisons),
        "held_out": len(kept.comparisons),
        "left_out": dict(trained.left_out),
        # Of the aspect that it knows least about.
        "accuracy": min(
            (one["accuracy"]["value"] for one in cards_of(card).values() if "accuracy" in one), default=None
        ),
        "passed": card["passed"],
    }
    work.lines += [
        f"{len(trained.comparisons)} comparisons read {source.epochs(steps):.2f} times in {steps} steps",
        f"report card: {card['verdict']}",
    ]


def _scored(
    model: Scorer, trained: Encoded, kept: Encoded, batches: list[Batch], aspects: tuple[str, ...]
) -> tuple[dict[str, list[Scored]], Scale]:
    """The held-out pairs of each aspect with scores and baselines, and the scale that makes its scores have mean 0 and
    spread 1."""
    import numpy as np
    import torch

    from exnihilo.model.scorer_folder import Scale
    from exnihilo.objectives.segments import by_answer, segment_ends

    if not batches:
        return {name: [] for name in aspects}, Scale.plain(aspects)
    scores: list[dict[int, float]] = [{} for _ in aspects]
    model.eval()
    with torch.inference_mode():
        for batch in (one.to(model.output.weight.device) for one in batches):
            found = model.at(segment_ends(batch.segments), batch.tokens, batch.positions, batch.segments)
            for number, known in enumerate(scores):
                known |= by_answer(found[:, :, number], batch)
    model.train()
    pairs = {name: _pairs(number, scores[number], trained, kept) for number, name in enumerate(aspects)}
    values: list[list[float]] = [[] for _ in aspects]
    first = 0
    for comparison in kept.comparisons:  # all of its pairs are of one aspect
        aspect, answers = comparison.pairs[0].aspect, range(first, first + len(comparison.answers))
        values[aspect] += [scores[aspect][answer] for answer in answers]
        first = answers.stop
    mean = [float(np.mean(one or [0.0])) for one in values]
    spread = [float(np.std(one or [0.0])) or 1.0 for one in values]
    return pairs, Scale(aspects, tuple(mean), tuple(spread))


def _pairs(aspect: int, scores: dict[int, float], trained: Encoded, kept: Encoded) -> list[Scored]:
    from exnihilo.align.baselines import BagOfWords, Baseline, Judged, Longer
    from exnihilo.align.card import Scored
    from exnihilo.align.preference_data import prompt_key

    shown = [
        Judged.of(one, pair)
        for one in trained.preferences
        for pair in one.pairs
        if pair.certainty != 0.5 and pair.aspect == aspect
    ]
    baselines: dict[str, Baseline] = {"length": Longer(shown), "a bag of words": BagOfWords(shown)}
    prompts = {key: i for i, key in enumerate(dict.fromkeys(map(prompt_key, kept.preferences)))}
    pairs, first = [], 0
    for preference, comparison in zip(kept.preferences, kept.comparisons, strict=True):
        for pair in preference.pairs:
            if pair.aspect != aspect:
                continue
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
    return pairs


STAGE = Stage("reward", "reward", RewardConfig, run, "Train a reward model on comparisons of answers.")
