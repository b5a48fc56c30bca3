"""The stage `pretrain`: a decoder trained from nothing on token sets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from exnihilo.core.config import Count, TokensRef, why
from exnihilo.core.errors import Refused
from exnihilo.core.seeds import derive as derive_seed
from exnihilo.core.stage import Inputs, Stage
from exnihilo.core.workspace import Workspace
from exnihilo.train.config import COMPILE, COMPILE_WHY, COSMETIC, HORIZON, Compile, FitConfig, ModelShape

if TYPE_CHECKING:
    from exnihilo.tokens.sampler import DocumentRows, Phase
    from exnihilo.tokens.shards import TokenSet
    from exnihilo.train.budget import Plan
    from exnihilo.train.validation import HeldOut


SHORTEST_PIECE = 64
"""Tokens of a row's half below which rows are whole from the start."""


class PretrainConfig(FitConfig):
    """Train a decoder on the documents of one or several token sets."""

    tokens: TokensRef | list[TokensRef] = Field(
        description="token sets of one tokenizer",
        json_schema_extra=why(
            "there is no default: it is what the model learns from. Sets are mixed by rows, and must "
            "come from one tokenizer",
            example="runs/mine/tokens",
        ),
    )
    weights: list[float] | None = Field(
        default=None,
        description="share of rows from each token set; none: by size, so that all have the same epochs",
        json_schema_extra=why(
            "open, by size: then all sets are read equally often, and none is repeated while another is new",
            example="0.8,0.2",
        ),
    )
    model: ModelShape = Field(default=ModelShape(), description="size of the model")
    train_tokens: Count | None = Field(
        default=None,
        ge=1,
        description="tokens to train on, instead of steps",
        json_schema_extra=HORIZON
        | why(
            "open, 20 tokens for each parameter (arXiv 2203.15556), but no more than four readings of "
            "the corpus, up to which repeated text is worth almost as much as new (arXiv 2305.16264)",
            example="8M",
        ),
    )
    rows: int | None = Field(
        default=None,
        ge=1,
        description="rows of a step; none: from the length of training",
        json_schema_extra=why(
            "open, so that a step has about 1.3·√(training tokens) tokens: 2,048 at 2.5M, as tried on "
            "two cores; useful batches grow about so with the length of training (arXiv 2410.21676)",
            example="16",
        ),
    )
    length: int | None = Field(
        default=None,
        ge=2,
        description="tokens of a row; none: from the length of training",
        json_schema_extra=why(
            "open, 256 below 20M training tokens, 512 below 200M, 1,024 below 2G, then 2,048: long "
            "rows only pay once short-range regularities are learned",
            example="512",
        ),
    )
    length_warmup: float = Field(
        default=0.6,
        ge=0,
        lt=1,
        description="share of the steps, the first, whose rows are each made of two pieces of half the length",
        json_schema_extra=why(
            "0.6: two pieces from different places make a batch a better sample of the text, and attention cheaper, "
            "while what is learned lies close together (arXiv 2108.06084). A model of 3M parameters came to 1.631 "
            "instead of 1.653 bits per byte in 0.85 of the time (one seed; docs/decisions/0004)",
            example="0",
        ),
    )
    compile: Compile = Field(default="auto", description=COMPILE, json_schema_extra=COMPILE_WHY)
    validation_rows: int = Field(
        default=32,
        ge=0,
        description="held-out rows of a validation; 0: none",
        json_schema_extra=COSMETIC
        | why(
            "32 rows of 256 are 8,192 tokens: enough to tell losses apart by a hundredth, and little work",
            example="64",
        ),
    )
    sample_prompts: list[str] = Field(
        default=[""],
        description="texts continued now and then, for the report",
        json_schema_extra=COSMETIC
        | why(
            "the empty text: what the model writes from nothing shows what it has learned, in any language",
            example="'Once upon a time'",
        ),
    )
    sample_tokens: int = Field(
        default=64,
        ge=1,
        description="longest sample in tokens",
        json_schema_extra=COSMETIC
        | why("64 are some lines; each is a pass through the model", example="128"),
    )

    @model_validator(mode="after")
    def _one_horizon(self) -> PretrainConfig:
        if self.steps is not None and self.train_tokens is not None:
            raise ValueError("steps and train_tokens both say how long to train; give one")
        sets = len(self.tokens) if isinstance(self.tokens, list) else 1
        if self.weights is not None and len(self.weights) != sets:
            raise ValueError(f"weights: {len(self.weights)} given for {sets} token sets; give one for each")
        if self.weights is not None and (min(self.weights) < 0 or max(self.weights) == 0):
            raise ValueError(f"weights are {self.weights}; give numbers of at least 0, not all of them 0")
        context = self.model.max_length
        if self.length is not None and context is not None and self.length > context:
            raise ValueError(
                f"length is {self.length} tokens, and the context model.max_length {context}; "
                "give rows that fit into it"
            )
        return self


def run(config: PretrainConfig, inputs: Inputs, work: Workspace) -> None:
    """Train and write the model folder, with the tokenizer of the token sets.

    Raises what `fit` does, and Refused for token sets or a tokenizer that are unfit.
    """
    import torch

    from exnihilo.core.progress import short
    from exnihilo.model.decoder import Decoder
    from exnihilo.model.folder import save_model
    from exnihilo.objectives.by_source import by_source
    from exnihilo.tokenizer.tokenizer import Tokenizer
    from exnihilo.tokens.sampler import DocumentRows
    from exnihilo.tokens.sources import unigram_nats
    from exnihilo.train import distributed
    from exnihilo.train.compiling import compile_where_it_pays
    from exnihilo.train.fit import fit
    from exnihilo.train.history import Known
    from exnihilo.train.prefetch import Prefetch
    from exnihilo.train.samples import Prompt, Samples
    from exnihilo.train.sources import told, told_by_source
    from exnihilo.train.validation import HeldOutLoss

    sets = _token_sets(_folders(inputs))
    tokenizer = Tokenizer.load(sets[0].tokenizer)
    _ = tokenizer.pad  # Refused where it also ends texts
    for one in sets:
        one.check_tokenizer(tokenizer)
    plan = _plan(config, sets)
    for reason in plan.reasons:
        work.event("derived", message=reason)

    phases = _phases(config.length_warmup, plan.steps, plan.length)
    rows = DocumentRows(sets, config.weights, plan.rows, plan.length, derive_seed(work.seed, "order"), phases)
    epochs = rows.epochs(plan.steps)
    torch.manual_seed(derive_seed(work.seed, "init"))
    model = Decoder(plan.decoder).to(distributed.device())
    tokens = plan.steps * plan.rows * plan.length
    compile_where_it_pays(model, config.compile, tokens=tokens, length=plan.length, work=work)
    held_out = _held_out_rows(config, plan, inputs, work.seed)
    validate = (
        None
        if held_out is None
        else HeldOutLoss(
            model, held_out.batch, tokenizer.token_bytes, rows=plan.rows, sources=held_out.sources
        )
    )
    prompts = [Prompt(text, [tokenizer.bos, *tokenizer.encode(text)]) for text in config.sample_prompts]
    sample = Samples(model, tokenizer, prompts, work, temperature=0.8, max_new=config.sample_tokens)
    settings = config.model_copy(update={"steps": plan.steps, "optimizer": plan.optimizer})
    with Prefetch(rows) as source:
        result = fit(
            model,
            by_source(rows.sources),
            source,
            settings,
            work,
            validate=validate,
            sample=sample if prompts else None,
            known=Known(epochs, unigram_nats(sets)),
        )
    save_model(model, sets[0].tokenizer, work.path)
    work.summary |= {
        "parameters": plan.decoder.parameters,
        "rows": plan.rows,
        "length": plan.length,
        "phases": [str(phase) for phase in rows.phases],
        **result.summary(),
        "epochs": epochs,
        "derived": plan.reasons,
    }
    read = ", ".join(f"{name} {times:.2f} times" for name, times in epochs.items())
    validation = result.counters.validation or {}
    measured, by_origin = told(validation), told_by_source(validation)
    work.lines += [
        f"{short(plan.decoder.parameters)} parameters, depth {plan.decoder.depth}, "
        f"width {plan.decoder.width}; {short(result.counters.tokens)} tokens in {plan.steps} steps; read {read}",
        f"held out: {measured}" if measured else "no held-out text, so no validation",
        *([f"held out by source, {by_origin}"] if by_origin else []),
    ]


def rows_read(model: Path) -> tuple[DocumentRows, int]:
    """What the run that made a model read, step by step, and how many steps that were.

    Raises Refused where `pretrain` did not make it, or where what it read is not there as it was.
    """
    from exnihilo.core.artifact import Artifact, content_of
    from exnihilo.tokens.sampler import DocumentRows, Phase
    from exnihilo.tokens.show import order_seed

    made = Artifact.open(model, kind="model").manifest
    if made["do"] != "pretrain" or "phases" not in made["metrics"]:
        raise Refused(f"{model}: made by {made['do']}; give a model that pretrain made, or a token set")
    folders = []
    for one in made["inputs"]:
        folder = Path(os.path.normpath(model / one["path"]))
        if content_of(folder)[1] != one["content"]:
            raise Refused(f"{folder}: no longer what {model} was trained on; make both again")
        folders.append(folder)
    metrics = made["metrics"]
    rows = DocumentRows(
        _token_sets(folders, verify=False),
        made["config"]["weights"],
        metrics["rows"],
        metrics["length"],
        order_seed(made["seed"], "pretrain"),
        [Phase.of(text) for text in metrics["phases"]],
    )
    return rows, int(metrics["steps"])


def _phases(warmup: float, steps: int, length: int) -> list[Phase]:
    """The phase in which rows are made of two pieces: none for rows that are short already."""
    from exnihilo.tokens.sampler import Phase

    until = round(warmup * steps)
    return [Phase(until, length // 2)] if until and length % 2 == 0 and length // 2 >= SHORTEST_PIECE else []


def estimate(config: PretrainConfig, inputs: Inputs) -> list[str]:
    """What a dry run tells: derived settings, FLOPs, time on this machine, memory. Empty without the
    tokens."""
    from exnihilo.model.precision import resolve_precision
    from exnihilo.train import distributed
    from exnihilo.train.budget import estimated_cost

    if "tokens" not in inputs:
        return []
    plan = _plan(config, _token_sets(_folders(inputs), verify=False))
    return [
        *plan.reasons,
        *estimated_cost(
            plan.decoder,
            plan.steps,
            plan.rows,
            plan.length,
            config.micro_rows,
            resolve_precision(config.precision, distributed.device()),
        ),
    ]


def _token_sets(folders: list[Path], split: str = "train", *, verify: bool = True) -> list[TokenSet]:
    from exnihilo.tokens.shards import TokenSet

    return [TokenSet.open(folder, split, verify=verify) for folder in folders]


def _plan(config: PretrainConfig, sets: list[TokenSet]) -> Plan:
    from exnihilo.train.budget import derive

    return derive(
        config.model,
        config.optimizer,
        vocab_size=sets[0].vocab_size,
        corpus_tokens=sum(one.tokens for one in sets),
        steps=config.steps,
        train_tokens=config.train_tokens,
        rows=config.rows,
        length=config.length,
    )


def _held_out_rows(config: PretrainConfig, plan: Plan, inputs: Inputs, seed: int) -> HeldOut | None:
    """Rows of the held-out split, each text at most once; None where there is none or none is wanted."""
    from exnihilo.tokens.sampler import DocumentRows
    from exnihilo.tokens.shards import splits
    from exnihilo.train.validation import HeldOut

    having = [folder for folder in _folders(inputs) if "held_out" in splits(folder)]
    sets = [one for one in _token_sets(having, "held_out") if one.tokens > one.documents]
    positions = sum(one.tokens - one.documents for one in sets)
    if not positions or not config.validation_rows:
        return None
    rows = max(1, min(config.validation_rows, positions // plan.length))
    drawn = DocumentRows(sets, None, rows, plan.length, derive_seed(seed, "held out"))
    return HeldOut(drawn.next(0), drawn.sources)


def _folders(inputs: Inputs) -> list[Path]:
    given = inputs["tokens"]
    return [given] if isinstance(given, Path) else list(given.values())


STAGE = Stage("pretrain", "model", PretrainConfig, run, "Train a decoder from nothing on token sets.")
