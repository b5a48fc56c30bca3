"""The stage `import`: a model of another program, in the layout of `transformers`, made ready for every stage here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from exnihilo.core.config import Config, ModelRef, why
from exnihilo.core.stage import Inputs, Stage
from exnihilo.core.workspace import Workspace

if TYPE_CHECKING:
    from exnihilo.model.decoder import Decoder


FILES = ("*.json", "*.safetensors", "*.jinja")
"""What is fetched of a model on the Hub."""


class ImportConfig(Config):
    """Take a Qwen2.5, Qwen3, Llama, Mistral or GPT-2 model, and its tokenizer, into a model folder."""

    model: ModelRef | None = Field(
        None,
        description="folder of the model: config.json, safetensors and a byte-level tokenizer.json",
        json_schema_extra=why("open, since a model may come from the Hub instead", example="./Qwen2.5-0.5B"),
    )
    hub: str | None = Field(
        None,
        description="OWNER/NAME of a model on the Hugging Face Hub, instead of a folder; needs the extra `hub`",
        json_schema_extra=why("open, since a model may lie in a folder instead", example="OWNER/NAME"),
    )
    revision: str | None = Field(
        None,
        description="branch, tag or commit on the Hub; default: the main branch",
        json_schema_extra=why(
            "open, the main branch as it is now; name a commit, and the same model comes again later",
            example="main",
        ),
    )
    template: Path | None = Field(
        None,
        description="chat template (a file) to use instead of the model's own",
        json_schema_extra=why(
            "open, the model's own, marked where it says nothing of what is trained; a model without one gets "
            "plain words",
            example="chat_template.jinja",
        ),
    )

    @model_validator(mode="after")
    def _one_source(self) -> ImportConfig:
        if (self.model is None) == (self.hub is None):
            raise ValueError("give either model (a folder) or hub (OWNER/NAME)")
        if self.revision is not None and self.hub is None:
            raise ValueError("revision: it is for hub alone")
        return self


def run(config: ImportConfig, inputs: Inputs, work: Workspace) -> None:
    """Write the model folder in the precision that the weights came in.

    Raises Refused for a model or a tokenizer that can't be read, ConfigError for a chat template that can't be used.
    """
    from exnihilo.core.hub import snapshot
    from exnihilo.core.progress import short
    from exnihilo.model.folder import load_model, save_model, stored_dtype
    from exnihilo.tokenizer.adopt import adopt
    from exnihilo.tokenizer.tokenizer import Tokenizer

    folder = inputs.get("model")
    if config.hub is not None:
        folder = snapshot(config.hub, config.revision, FILES, kind="model")
    assert isinstance(folder, Path)
    given = Tokenizer.load(folder)
    if config.template is not None:
        given = given.with_template(_read(config.template))
    tokenizer, lines = adopt(given, for_training=config.template is not None)
    model = load_model(folder)
    dtype = stored_dtype(folder)
    added = tokenizer.vocab_size - model.config.vocab_size
    if added > 0:
        model = widened(model, tokenizer.vocab_size)
        lines.append(
            f"vocabulary: {added} row{'s' * (added > 1)} added for new tokens, each the mean of the others"
        )
    tokenizer.save(work.path)
    save_model(model, work.path, work.path, dtype)
    config_ = model.config
    work.summary = {"layout": config_.layout, "parameters": config_.parameters, "context": config_.max_length}
    work.lines = [
        f"{config_.layout}: {short(config_.parameters)} parameters, vocabulary {config_.vocab_size:,}, context "
        f"{config_.max_length:,} tokens, {str(dtype).removeprefix('torch.')}",
        *lines,
    ]


def widened(model: Decoder, vocab_size: int) -> Decoder:
    """The model with more rows of embedding (and of its output head), each the mean of those there are: a fresh token
    is then as likely as the average one, and no other's logit changes."""
    import torch

    from exnihilo.model.decoder import Decoder

    wide = Decoder.empty(model.config.model_copy(update={"vocab_size": vocab_size}))
    state = model.state_dict()
    for name in ("embedding.weight", "output.weight"):
        if name in state:
            old = state[name]
            new = old.mean(0, keepdim=True).expand(vocab_size - len(old), -1)
            state[name] = torch.cat((old, new))
    wide.load_state_dict(state)
    return wide


def _read(path: Path) -> str:
    from exnihilo.core.errors import ConfigError

    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"template: {path} cannot be read ({error}); give a file of UTF-8 text") from error


def external(config: ImportConfig) -> str:
    """The chat template's text, and the commit of the Hub that would be read."""
    text = "" if config.template is None else _read(config.template)
    return f"{config.hub}@{config.revision}\n{text}"


STAGE = Stage(
    "import",
    "model",
    ImportConfig,
    run,
    "Make a model of another program ready for every stage here.",
    external,
)
