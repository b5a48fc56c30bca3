"""The stage `sft`: supervised fine-tuning of a model on conversations, with loss on the assistant's tokens
alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, NonNegativeFloat, model_validator

from exnihilo.core.config import ExamplesRef, ModelRef, TokensRef, why
from exnihilo.core.errors import Refused
from exnihilo.core.seeds import derive as derive_seed
from exnihilo.core.stage import Inputs, Stage
from exnihilo.core.workspace import Workspace
from exnihilo.model.lora_config import LoraConfig
from exnihilo.train.config import (
    COMPILE,
    COMPILE_WHY,
    COSMETIC,
    DEFAULT_RATES,
    HORIZON,
    LORA,
    LORA_WHY,
    Compile,
    FitConfig,
    OptimizerConfig,
    adapter_rate,
    check_length,
)
from exnihilo.train.conversations import Prepared, prepare, weighted

if TYPE_CHECKING:
    from exnihilo.model.decoder import Decoder
    from exnihilo.objectives.loss import Objective
    from exnihilo.tokenizer.template import Renderer
    from exnihilo.tokenizer.tokenizer import Tokenizer
    from exnihilo.tokens.batch import Source
    from exnihilo.train.samples import Prompt
    from exnihilo.train.validation import HeldOut

RATE_SHARE = 0.25
"""Default learning rates, as a share of pretraining's: the model is to change its manner, not what it
knows."""
STEP_TOKENS = 4096
EPOCHS = 2.0
"""Defaults: tokens of a step, and times that every conversation is read."""


class SFTConfig(FitConfig):
    """Fine-tune a model on conversations; the loss counts what the assistant says and its end tokens."""

    model: ModelRef = Field(
        description="the model to start from",
        json_schema_extra=why(
            "there is no default: fine-tuning starts from a pretrained model",
            example="runs/mine/base",
        ),
    )
    examples: ExamplesRef = Field(
        description="conversations: an examples artifact, or a file of any known format",
        json_schema_extra=why(
            "there is no default: it is what the model is to answer like", example="chats.jsonl"
        ),
    )
    format: str | None = Field(
        default=None,
        description="format of a file; none: it is sniffed",
        json_schema_extra=why(
            "open, since every known format is recognised by its first rows",
            example="sharegpt",
        ),
    )
    replay: TokensRef | None = Field(
        default=None,
        description="token set whose text is trained beside the conversations, against forgetting",
        json_schema_extra=why(
            "open: without it more steps fit into the same time. Text of pretraining in each step "
            "keeps the model from forgetting it; the recipes replay one row in eight",
            example="runs/mine/tokens",
        ),
    )
    replay_rows: int | None = Field(
        default=None,
        ge=1,
        description="rows of replay in each step; none: a quarter of the rows",
        json_schema_extra=why(
            "open, a quarter of the rows: so much text beside the conversations is a guess that keeps "
            "most of the time for them",
            example="2",
        ),
    )
    epochs: float | None = Field(
        default=None,
        gt=0,
        description="times that every conversation is read, instead of steps; 2 if neither is given",
        json_schema_extra=HORIZON
        | why(
            "2: demonstrations are few and dear, so they are read more than once; where validation "
            "loss rises, less is better",
            example="3",
        ),
    )
    weights: dict[str, NonNegativeFloat] = Field(
        default={},
        description="what a trained token counts for, by the family or source of its conversation; "
        "1 where none is given",
        json_schema_extra=why(
            "empty, every trained token counts alike; single answers have their weight in the data, as `weight` or "
            "`train` of a turn",
            example="'{\"manners\": 0.5}'",
        ),
    )
    neftune_alpha: float | None = Field(
        default=None,
        gt=0,
        description="noise on the embeddings in training (NEFTune): uniform, up to "
        "alpha / √(tokens of a conversation · width)",
        json_schema_extra=why(
            "none, since a model of few parameters has nothing to spare for noise; on large ones 5 to 15 made answers "
            "longer and more liked (arXiv 2310.05914)",
            example="5",
        ),
    )
    residual_dropout: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of what the top block adds to the residual stream that is dropped in training; from there "
        "it falls in a line to 0 at the bottom block",
        json_schema_extra=why(
            "0, none: two epochs need no cure against over-fitting. LIMA's 15 epochs over 1,000 conversations had 0.3, "
            "and 0.2 in smaller models (arXiv 2305.11206)",
            example="0.3",
        ),
    )
    lora: LoraConfig | None = Field(default=None, description=LORA, json_schema_extra=LORA_WHY)
    rows: int | None = Field(
        default=None,
        ge=1,
        description="rows of conversations in a step; none: 4,096 tokens",
        json_schema_extra=why(
            "open, 4,096 tokens in a step: twice the batches of text that the quickstart trains on, "
            "since only answers are trained",
            example="8",
        ),
    )
    length: int | None = Field(
        default=None,
        ge=2,
        description="tokens of a row; none: the model's context",
        json_schema_extra=why(
            "open, the model's context: no conversation is cut that the model could read. A shorter "
            "row costs less for each token",
            example="256",
        ),
    )
    compile: Compile = Field(default="auto", description=COMPILE, json_schema_extra=COMPILE_WHY)
    validation_rows: int = Field(
        default=32,
        ge=0,
        description="rows of validation.jsonl in a validation; 0: none",
        json_schema_extra=COSMETIC
        | why(
            "32 rows are some hundred conversations, and about as much work as a few steps",
            example="64",
        ),
    )
    sample_prompts: list[str] | None = Field(
        default=None,
        description="questions asked now and then, for the report; none: the first four of "
        "validation.jsonl, or of the conversations",
        json_schema_extra=COSMETIC
        | why(
            "open, the first four questions, so that the report shows how answers change while the "
            "model learns",
            example="'What is a list?'",
        ),
    )
    sample_tokens: int = Field(
        default=64,
        ge=1,
        description="longest sample in tokens",
        json_schema_extra=COSMETIC
        | why("64 are a short answer; each is a pass through the model", example="128"),
    )

    @model_validator(mode="after")
    def _consistent(self) -> SFTConfig:
        if self.steps is not None and self.epochs is not None:
            raise ValueError("steps and epochs both say how long to train; give one")
        if self.replay_rows is not None and self.replay is None:
            raise ValueError("replay_rows is given without replay; name a token set, or drop it")
        return self


def run(config: SFTConfig, inputs: Inputs, work: Workspace) -> None:
    """Train and write the model folder, with the tokenizer of the model that it starts from.

    Raises what `fit` does; Refused for a model, tokenizer, template or conversations that are unfit.
    """
    from exnihilo.core.progress import short
    from exnihilo.model.adapter_folder import save_tuned
    from exnihilo.model.adapters import add_lora
    from exnihilo.model.folder import load_with_tokenizer
    from exnihilo.model.precision import resolve_precision
    from exnihilo.objectives.by_source import by_source
    from exnihilo.tokenizer.template import Renderer
    from exnihilo.tokens.packing import ConversationRows
    from exnihilo.train import distributed
    from exnihilo.train.budget import estimated_cost
    from exnihilo.train.compiling import compile_where_it_pays
    from exnihilo.train.fit import fit
    from exnihilo.train.prefetch import Prefetch
    from exnihilo.train.samples import Samples
    from exnihilo.train.sources import told, told_by_source
    from exnihilo.train.validation import HeldOutLoss

    folder = _path(inputs, "model")
    model, tokenizer = load_with_tokenizer(folder, distributed.device())
    renderer = Renderer(tokenizer)
    renderer.check()
    if config.lora is not None:
        add_lora(model, config.lora, derive_seed(work.seed, "lora"))
    length = config.length or model.config.max_length
    check_length(length, model.config.max_length)
    trained, validation = _conversations(_path(inputs, "examples"), config.format, renderer, length, work)
    if config.weights:
        weighted(trained, config.weights, _path(inputs, "examples"))

    rows = config.rows or max(1, STEP_TOKENS // length)
    seed = derive_seed(work.seed, "order")
    pad = tokenizer.pad  # Refused where it also ends texts
    replay = _replay(config, inputs, tokenizer, rows, length, derive_seed(work.seed, "replay"))
    packed = ConversationRows(
        trained.pairs, rows, length, seed, pad=pad, replay=replay, labels=trained.labels
    )
    steps = config.steps or max(1, round((config.epochs or EPOCHS) * packed.rows_per_epoch / rows))
    adapters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    cost = estimated_cost(
        model.config,
        steps,
        rows,
        length,
        config.micro_rows,
        resolve_precision(config.precision, next(model.parameters()).device),
        0 if config.lora is None else adapters,
    )
    work.event("estimate", message="will take: " + "; ".join(cost))
    objective, ordered = _perturbed(config, model, by_source(packed.sources), packed, work.seed)
    tokens = steps * rows * length
    compile_where_it_pays(model, config.compile, tokens=tokens, length=length, work=work)
    held_out = _validation_rows(validation, config.validation_rows, length, pad)
    validate = (
        None
        if held_out is None
        else HeldOutLoss(model, held_out.batch, tokenizer.token_bytes, rows=rows, sources=held_out.sources)
    )
    prompts = _prompts(config.sample_prompts, validation or trained, renderer)
    sample = Samples(model, tokenizer, prompts, work, temperature=0.0, max_new=config.sample_tokens)
    adapted_width = None if config.lora is None else model.config.width
    optimizer = _optimizer(config.optimizer, adapted_width)
    settings = config.model_copy(update={"steps": steps, "optimizer": optimizer})
    with Prefetch(ordered) as source:
        result = fit(
            model,
            objective,
            source,
            settings,
            work,
            validate=validate,
            sample=sample if prompts else None,
        )
    save_tuned(model, folder, work.path)
    epochs = packed.epochs(steps)["conversations"]
    work.summary |= {
        "parameters": model.config.parameters,
        **result.summary(),
        "epochs": epochs,
        "conversations": len(trained.pairs),
        "left_out": dict(trained.left_out),
    }
    validation_figures = result.counters.validation or {}
    measured, by_origin = told(validation_figures), told_by_source(validation_figures)
    work.lines += [
        f"{short(len(trained.pairs))} conversations read {epochs:.2f} times in {steps} steps, rows "
        f"{packed.fill:.0%} full, {short(result.counters.tokens)} tokens",
        f"validation: {measured}" if measured else "no validation.jsonl, so no validation",
        *([f"validation by family or source, {by_origin}"] if by_origin else []),
    ]


def _path(inputs: Inputs, field: str) -> Path:
    path = inputs[field]
    assert isinstance(path, Path)
    return path


def _conversations(
    examples: Path, format: str | None, renderer: Renderer, length: int, work: Workspace
) -> tuple[Prepared, Prepared | None]:
    """What is trained on, and the validation set where there is one."""
    if examples.is_dir():
        train, validation = examples / "train.jsonl", examples / "validation.jsonl"
        if not train.is_file():
            raise Refused(
                f"{examples}: no train.jsonl there; give a folder of examples or a file of conversations"
            )
    else:
        train, validation = examples, None
    # A row of n positions holds n + 1 tokens: the last one is a target only.
    trained = prepare(train, renderer, length + 1, format, work)
    if not trained.pairs:
        advice = "mend them (exnihilo data check FILE shows more)"
        if trained.left_out.keys() == {"too long"}:
            advice = f"none fits {length + 1} tokens: shorten them, raise length, or take a model of longer context"
        raise Refused(f"{train}: nothing to train on; left out: {trained.told()}; {advice}")
    if validation is None or not validation.is_file():
        return trained, None
    return trained, prepare(validation, renderer, length + 1, format, work)


def _replay(
    config: SFTConfig, inputs: Inputs, tokenizer: Tokenizer, rows: int, length: int, seed: int
) -> Source | None:
    from exnihilo.tokens.sampler import DocumentRows
    from exnihilo.tokens.shards import TokenSet

    if config.replay is None:
        return None
    tokens = TokenSet.open(_path(inputs, "replay"))
    tokens.check_tokenizer(tokenizer)
    return DocumentRows([tokens], None, config.replay_rows or max(1, rows // 4), length, seed)


def _perturbed(
    config: SFTConfig, model: Decoder, objective: Objective, source: Source, seed: int
) -> tuple[Objective, Source]:
    """Objective and source with the noise and dropout that are asked for; without any they stay as they are."""
    from exnihilo.model.residual_dropout import ResidualDropout
    from exnihilo.objectives.perturbed import Perturbed
    from exnihilo.tokens.row_seeds import RowSeeds

    if config.neftune_alpha is None and not config.residual_dropout:
        return objective, source
    dropout = ResidualDropout(model, config.residual_dropout) if config.residual_dropout else None
    perturbed = Perturbed(objective, neftune_alpha=config.neftune_alpha, dropout=dropout)
    return perturbed, RowSeeds(source, derive_seed(seed, "perturbed"))


def _validation_rows(prepared: Prepared | None, most: int, length: int, pad: int) -> HeldOut | None:
    from exnihilo.tokens.batch import Batch
    from exnihilo.tokens.packing import ConversationRows
    from exnihilo.train.validation import HeldOut

    if prepared is None or not prepared.pairs or not most:
        return None
    # Weights are for training: what is trained at all counts alike here.
    pairs = [(ids, [weight > 0 for weight in weights]) for ids, weights in prepared.pairs]
    rows = ConversationRows(pairs, 1, length, 0, pad=pad, labels=prepared.labels)
    drawn = Batch.cat([rows.next(i) for i in range(min(most, rows.rows_per_epoch))])
    return HeldOut(drawn, rows.sources)


def _prompts(given: list[str] | None, prepared: Prepared, renderer: Renderer) -> list[Prompt]:
    from exnihilo.train.samples import Prompt

    if given is None:
        return [Prompt(text, renderer.prompt(messages)) for text, messages in prepared.questions]
    return [Prompt(text, renderer.prompt([{"role": "user", "content": text}])) for text in given]


def _optimizer(given: OptimizerConfig, adapted_width: int | None) -> OptimizerConfig:
    """The rates that are left open; `adapted_width` is that of a model on which adapters are trained."""
    lr, lr_embedding = (RATE_SHARE * rate for rate in DEFAULT_RATES[given.name])
    lr = lr if adapted_width is None else adapter_rate(adapted_width)
    filled = {
        "lr": lr if given.lr is None else given.lr,
        "lr_embedding": lr_embedding if given.lr_embedding is None else given.lr_embedding,
    }
    return given.model_copy(update=filled)


STAGE = Stage("sft", "model", SFTConfig, run, "Fine-tune a model on conversations.")
