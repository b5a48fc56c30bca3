"""The stage `sft`: supervised fine-tuning of a model on conversations, with loss on the assistant's tokens
alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from exnihilo.core.config import ExamplesRef, ModelRef, TokensRef
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.seeds import derive as derive_seed
from exnihilo.core.stage import Inputs, Stage
from exnihilo.core.workspace import Workspace
from exnihilo.train.config import COSMETIC, DEFAULT_RATES, HORIZON, FitConfig, OptimizerConfig
from exnihilo.train.conversations import Prepared, prepare

if TYPE_CHECKING:
    from exnihilo.tokenizer.template import Renderer
    from exnihilo.tokenizer.tokenizer import Tokenizer
    from exnihilo.tokens.batch import Batch, Source
    from exnihilo.train.samples import Prompt

RATE_SHARE = 0.25
"""Default learning rates, as a share of pretraining's: the model is to change its manner, not what it
knows."""
STEP_TOKENS = 4096
EPOCHS = 2.0
"""Defaults: tokens of a step, and times that every conversation is read."""


class SFTConfig(FitConfig):
    """Fine-tune a model on conversations; the loss counts what the assistant says and its end tokens."""

    model: ModelRef = Field(description="the model to start from")
    examples: ExamplesRef = Field(
        description="conversations: an examples artifact, or a file of any known format"
    )
    format: str | None = Field(default=None, description="format of a file; none: it is sniffed")
    replay: TokensRef | None = Field(
        default=None,
        description="token set whose text is trained beside the conversations, against forgetting",
    )
    replay_rows: int | None = Field(
        default=None, ge=1, description="rows of replay in each step; none: a quarter of the rows"
    )
    epochs: float | None = Field(
        default=None,
        gt=0,
        description="times that every conversation is read, instead of steps; 2 if neither is given",
        json_schema_extra=HORIZON,
    )
    rows: int | None = Field(
        default=None, ge=1, description="rows of conversations in a step; none: 4,096 tokens"
    )
    length: int | None = Field(default=None, ge=2, description="tokens of a row; none: the model's context")
    validation_rows: int = Field(
        default=32,
        ge=0,
        description="rows of validation.jsonl in a validation; 0: none",
        json_schema_extra=COSMETIC,
    )
    sample_prompts: list[str] | None = Field(
        default=None,
        description="questions asked now and then, for the report; none: the first four of "
        "validation.jsonl, or of the conversations",
        json_schema_extra=COSMETIC,
    )
    sample_tokens: int = Field(
        default=64, ge=1, description="longest sample in tokens", json_schema_extra=COSMETIC
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
    from exnihilo.model.folder import load_model, save_model
    from exnihilo.objectives.causal import causal
    from exnihilo.tokenizer.template import Renderer
    from exnihilo.tokenizer.tokenizer import Tokenizer
    from exnihilo.tokens.packing import ConversationRows
    from exnihilo.train import distributed
    from exnihilo.train.fit import fit
    from exnihilo.train.prefetch import Prefetch
    from exnihilo.train.samples import Samples
    from exnihilo.train.validation import HeldOutLoss

    folder = _path(inputs, "model")
    tokenizer = Tokenizer.load(folder)
    renderer = Renderer(tokenizer)
    renderer.check()
    model = load_model(folder, distributed.device())
    length = _length(config, model.config.max_length)
    _check_vocabulary(tokenizer.vocab_size, model.config.vocab_size, folder)
    trained, validation = _conversations(_path(inputs, "examples"), config.format, renderer, length, work)

    rows = config.rows or max(1, STEP_TOKENS // length)
    seed = derive_seed(work.seed, "order")
    pad = tokenizer.pad  # Refused where it also ends texts
    replay = _replay(config, inputs, tokenizer, rows, length, derive_seed(work.seed, "replay"))
    packed = ConversationRows(trained.pairs, rows, length, seed, pad=pad, replay=replay)
    steps = config.steps or max(1, round((config.epochs or EPOCHS) * packed.rows_per_epoch / rows))
    held_out = _validation_rows(validation, config.validation_rows, length, pad)
    validate = None if held_out is None else HeldOutLoss(model, held_out, tokenizer.token_bytes, rows=rows)
    prompts = _prompts(config.sample_prompts, validation or trained, renderer)
    sample = Samples(model, tokenizer, prompts, work, temperature=0.0, max_new=config.sample_tokens)
    settings = config.model_copy(update={"steps": steps, "optimizer": _optimizer(config.optimizer)})
    with Prefetch(packed) as source:
        result = fit(
            model, causal, source, settings, work, validate=validate, sample=sample if prompts else None
        )
    save_model(model, folder, work.path)
    epochs = packed.epochs(steps)["conversations"]
    work.summary |= {
        "parameters": model.config.parameters,
        **result.summary(),
        "epochs": epochs,
        "conversations": len(trained.pairs),
        "left_out": dict(trained.left_out),
    }
    measured = ", ".join(f"{name} {value:.4g}" for name, value in (result.counters.validation or {}).items())
    work.lines += [
        f"{short(len(trained.pairs))} conversations read {epochs:.2f} times in {steps} steps, rows "
        f"{packed.fill:.0%} full, {short(result.counters.tokens)} tokens",
        f"validation: {measured}" if measured else "no validation.jsonl, so no validation",
    ]


def _path(inputs: Inputs, field: str) -> Path:
    path = inputs[field]
    assert isinstance(path, Path)
    return path


def _length(config: SFTConfig, context: int) -> int:
    if config.length is not None and config.length > context:
        raise ConfigError(
            f"length: {config.length} tokens, and the model's context is {context}; give at most that"
        )
    return config.length or context


def _check_vocabulary(tokenizer: int, model: int, folder: Path) -> None:
    if tokenizer > model:
        raise Refused(
            f"{folder}: its tokenizer has {tokenizer} ids, the model {model}; they do not belong together"
        )


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
        raise Refused(f"{train}: nothing to train on; left out: {trained.told()}")
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


def _validation_rows(prepared: Prepared | None, most: int, length: int, pad: int) -> Batch | None:
    from exnihilo.tokens.batch import Batch
    from exnihilo.tokens.packing import ConversationRows

    if prepared is None or not prepared.pairs or not most:
        return None
    rows = ConversationRows(prepared.pairs, 1, length, 0, pad=pad)
    return Batch.cat([rows.next(i) for i in range(min(most, rows.rows_per_epoch))])


def _prompts(given: list[str] | None, prepared: Prepared, renderer: Renderer) -> list[Prompt]:
    from exnihilo.train.samples import Prompt

    if given is None:
        return [Prompt(text, renderer.prompt(messages)) for text, messages in prepared.questions]
    return [Prompt(text, renderer.prompt([{"role": "user", "content": text}])) for text in given]


def _optimizer(given: OptimizerConfig) -> OptimizerConfig:
    lr, lr_embedding = (RATE_SHARE * rate for rate in DEFAULT_RATES[given.name])
    filled = {
        "lr": lr if given.lr is None else given.lr,
        "lr_embedding": lr_embedding if given.lr_embedding is None else given.lr_embedding,
    }
    return given.model_copy(update=filled)


STAGE = Stage("sft", "model", SFTConfig, run, "Fine-tune a model on conversations.")
