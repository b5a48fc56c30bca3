"""The stage `evaluate`: bits per byte on held-out text, accuracy on held-out items, paired comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from exnihilo.core.config import Config, why
from exnihilo.core.errors import ConfigError
from exnihilo.core.files import write_json
from exnihilo.core.jsonl import read_jsonl, write_jsonl
from exnihilo.core.markers import CorpusRef, ExamplesRef, ModelRef, RewardRef
from exnihilo.core.stage import Inputs, Stage
from exnihilo.core.workspace import Workspace
from exnihilo.evaluate.paired import default_pairs

if TYPE_CHECKING:
    from exnihilo.evaluate.items import Item
    from exnihilo.model.decoder import Decoder
    from exnihilo.tokenizer.tokenizer import Tokenizer

HELD_OUT = "held_out"
Record = dict[str, Any]


class Evaluate(Config):
    """Scores models on held-out text and held-out items."""

    models: list[ModelRef] = Field(
        min_length=1,
        description="models in the order of their training",
        json_schema_extra=why(
            "there is no default: give them in the order of their training, in which they are compared",
            example="runs/mine/base,runs/mine/sft",
        ),
    )
    items: ExamplesRef | None = Field(
        None,
        description="examples whose held_out.jsonl is asked",
        json_schema_extra=why(
            "open: without it nothing is asked, and only text is scored", example="runs/world/questions"
        ),
    )
    corpus: CorpusRef | None = Field(
        None,
        description="corpus whose held_out split is scored in bits per byte",
        json_schema_extra=why(
            "open: without it no text is scored. Bits per byte compare models with different tokenizers",
            example="runs/mine/corpus",
        ),
    )
    limit: int | None = Field(
        None,
        ge=1,
        description="ask only the first so many items",
        json_schema_extra=why(
            "open, all items: intervals narrow with the root of their number",
            example="400",
        ),
    )
    batch: int = Field(
        64,
        ge=1,
        description="items answered at once",
        json_schema_extra=why(
            "64 answers at once keep two cores busy and fit into memory at a few million parameters; "
            "it changes no answer",
            example="128",
        ),
    )
    max_new: int = Field(
        64,
        ge=1,
        description="longest answer in tokens",
        json_schema_extra=why(
            "64 tokens are a short answer; give more where answers show their steps, or they count as wrong",
            example="96",
        ),
    )
    samples: int | None = Field(
        None,
        ge=2,
        description="answers also drawn at random for each item: pass@k, and the majority of k",
        json_schema_extra=why(
            "open: greedy answers alone. 64 samples tell what votes of 1, 4, 16 and 64 are worth, and cost less "
            "than 64 times the time, since the question is read once",
            example="16",
        ),
    )
    temperature: float = Field(
        0.8,
        gt=0,
        description="temperature of those samples",
        json_schema_extra=why(
            "0.8: answers must differ for a vote to mean anything, and most still be sensible"
        ),
    )
    reward: RewardRef | None = Field(
        None,
        description="reward model that picks the best of several answers to each item, scored as one more model",
        json_schema_extra=why(
            "open: the models answer alone. Beside them the row says what their answers hold that they don't say "
            "first (arXiv 2009.01325)",
            example="runs/mine/reward",
        ),
    )
    best_of: int = Field(
        16,
        ge=2,
        description="so many answers are drawn, at temperature 1, for the reward model to pick from",
        json_schema_extra=why(
            "16: the expected best grows with √(log n), while time grows with n", example="64"
        ),
    )
    best_of_model: str | None = Field(
        None,
        description="the one of the models that draws them; none: the first",
        json_schema_extra=why("open, the first; give the one that alignment started from", example="sft"),
    )
    stride: int | None = Field(
        None,
        ge=1,
        description="new tokens a window of text scores; default half of the model's context",
        json_schema_extra=why(
            "open, half of the context: each token is scored with at least so much before it, and "
            "every token is read twice at most",
            example="64",
        ),
    )
    pairs: list[tuple[str, str]] | None = Field(
        None,
        description="[a, b]: compare a with b; default each model with the one before, the last with all",
        json_schema_extra=why(
            "open, each model with the one before, and the last with all: more pairs would find more "
            "differences by chance"
        ),
    )
    trained: list[str] = Field(
        [],
        description="families that alignment was trained on, also scored together",
        json_schema_extra=why(
            "none: families that alignment saw are then only told one by one",
            example="arithmetic,sequence",
        ),
    )

    @model_validator(mode="after")
    def _something_to_do(self) -> Evaluate:
        if self.items is None and self.corpus is None:
            raise ValueError("give items (accuracy), corpus (bits per byte) or both")
        if self.items is None and self.samples is not None:
            raise ValueError("samples are of items; give items too")
        if self.items is None and self.trained:
            raise ValueError("trained names families of items; give items too")
        if self.items is None and self.reward is not None:
            raise ValueError("reward picks among answers to items; give items too")
        paths = [Path(model) for model in self.models]
        # Of two models of one name each is called by its run, too.
        names = [*(path.name for path in paths), *(f"{path.parent.name}-{path.name}" for path in paths)]
        if self.best_of_model is not None and self.best_of_model not in names:
            raise ValueError(_not_among(self.best_of_model, names[: len(paths)], key="best_of_model"))
        made = [] if self.reward is None else [_best_of(name, self.best_of) for name in names]
        for name in (name for pair in self.pairs or [] for name in pair):
            if name not in names and name not in made:
                raise ValueError(_not_among(name, names[: len(paths)]))
        return self


def run(config: Evaluate, inputs: Inputs, work: Workspace) -> None:
    """Score every model; write `results.json`, `items/<model>.jsonl` and `documents/<model>.jsonl`."""
    from exnihilo.evaluate.items import (
        answer_items,
        best_of_items,
        majority_answers,
        majority_records,
        read_items,
        sample_items,
    )

    models, examples, corpus = inputs["models"], inputs.get("items"), inputs.get("corpus")
    judge = inputs.get("reward")
    assert isinstance(models, dict)
    names = list(models)
    drawn_by = config.best_of_model or names[0]
    if drawn_by not in names:
        raise ConfigError(_not_among(drawn_by, names, key="best_of_model"))
    if isinstance(judge, Path):
        names.insert(names.index(drawn_by) + 1, _best_of(drawn_by, config.best_of))
    pairs = _pairs(config.pairs, names)
    items: list[Item] = []
    majority: list[Record] = []
    if isinstance(examples, Path):
        items = read_items(examples, config.limit)
        majority = majority_records(items, majority_answers(examples))
        _check_families(config.trained, items)

    texts: dict[str, list[Record]] = {}
    answers: dict[str, list[Record]] = {}
    sampled: dict[str, list[Record]] = {}
    for name, folder in models.items():
        answered = partial(_answered, config, folder, work)
        if isinstance(corpus, Path):
            score = partial(_score_text, config, folder, corpus, work, name)
            texts[name] = _made(work, f"documents/{name}.jsonl", score)
        if items:
            ask = partial(answered, f"{name}: held-out items", len(items), answer_items, items=items)
            answers[name] = _made(work, f"items/{name}.jsonl", ask)
        if items and config.samples is not None:
            draw = partial(
                answered, f"{name}: sampled answers", len(items) * config.samples, sample_items, items=items,
                samples=config.samples, temperature=config.temperature,
            )  # fmt: skip
            sampled[name] = _made(work, f"samples/{name}.jsonl", draw)
        if isinstance(judge, Path) and name == drawn_by:
            best = _best_of(name, config.best_of)
            pick = partial(
                answered, f"{best}: sampled answers", len(items) * config.best_of, best_of_items, items=items,
                judge=judge, samples=config.best_of, temperature=1.0,
            )  # fmt: skip
            answers[best] = _made(work, f"items/{best}.jsonl", pick)
    # Here, since it loads NumPy: `exnihilo explain` reads the configs of all stages, and is to be quick.
    from exnihilo.evaluate.results import assemble, table

    results = assemble(names, texts, answers, majority, pairs, config.trained, sampled, seed=work.seed)
    write_json(work.path / "results.json", results)
    for name, scores in results["models"].items():
        work.summary[name] = {metric: score["value"] for metric, score in scores.items()}
    work.lines.extend(table(results["models"], results["majority"]))


def _made(work: Workspace, name: str, make: Callable[[], Iterable[Record]]) -> list[Record]:
    """Write the records `name`; what an interrupted run had finished (a checkpoint) is not made again."""
    kept = work.checkpoints / name
    if not kept.is_file():
        write_jsonl(kept, make())
    records = [record for _, record in read_jsonl(kept)]
    write_jsonl(work.path / name, records)
    return records


def _score_text(config: Evaluate, folder: Path, corpus: Path, work: Workspace, name: str) -> Iterator[Record]:
    from exnihilo.core.documents import read_documents
    from exnihilo.evaluate.bits_per_byte import score_documents

    model, tokenizer = _load(folder)
    with work.progress(None, f"{name}: held-out text", "documents") as progress:
        for score in score_documents(
            model, tokenizer, read_documents(corpus, HELD_OUT), stride=config.stride
        ):
            progress.advance(1)
            yield {**asdict(score), "bits": score.bits}


def _answered(
    config: Evaluate,
    folder: Path,
    work: Workspace,
    label: str,
    count: int,
    ask: Callable[..., list[Record]],
    **asked: Any,
) -> list[Record]:
    """What `ask`, a function of `evaluate/items.py`, makes of the model in `folder`; `count` answers are expected."""
    model, tokenizer = _load(folder)
    with work.progress(count, label, label.split()[-1]) as progress:
        return ask(
            model, tokenizer, batch=config.batch, max_new=config.max_new, seed=work.seed,
            advance=progress.advance, **asked,
        )  # fmt: skip


def _best_of(name: str, samples: int) -> str:
    """What the best of a model's answers is called, as if another model had given it."""
    return f"{name}-best-of-{samples}"


def _load(folder: Path) -> tuple[Decoder, Tokenizer]:
    from exnihilo.model.folder import load_with_tokenizer
    from exnihilo.train.distributed import device

    model, tokenizer = load_with_tokenizer(folder, device())
    return model.eval(), tokenizer


def _pairs(asked: list[tuple[str, str]] | None, models: list[str]) -> list[tuple[str, str]]:
    for name in (name for pair in asked or [] for name in pair):
        if name not in models:
            raise ConfigError(_not_among(name, models))
    return default_pairs(models) if asked is None else asked


def _not_among(name: str, models: list[str], *, key: str = "pairs") -> str:
    return f"{key}: {name!r} is not among the models; the models are {', '.join(models)}"


def _check_families(trained: list[str], items: list[Item]) -> None:
    families = sorted({item.family for item in items})
    for family in trained:
        if family not in families:
            raise ConfigError(
                f"trained: no item is of family {family!r}; the families are {', '.join(families)}"
            )


STAGE = Stage(
    verb="evaluate",
    kind="results",
    config=Evaluate,
    run=run,
    doc="Score models on held-out text and items, with intervals and paired comparisons.",
)
