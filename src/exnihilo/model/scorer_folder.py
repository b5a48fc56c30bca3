"""A reward model on disk: the Hugging Face layout of a decoder that classifies, and what its scores mean."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save

from exnihilo.core.artifact import write_atomic
from exnihilo.core.errors import Refused
from exnihilo.core.files import write_json
from exnihilo.model.adapter_folder import FOLDER, save_adapter
from exnihilo.model.adapters import adapters_of, fold
from exnihilo.model.config_json import CLASSES, config_json, read_config
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import WEIGHTS, read_weights, token_ids
from exnihilo.model.layouts import named_weights, own_weights
from exnihilo.model.scorer import Scorer
from exnihilo.tokenizer.folder import read_json

if TYPE_CHECKING:
    from exnihilo.tokenizer.tokenizer import Tokenizer

SCALE_FILE = "scale.json"
HEAD = "score.weight"


@dataclass(frozen=True)
class Scale:
    """What is subtracted from the scores of each aspect, and what they are then divided by."""

    aspects: tuple[str, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]

    @staticmethod
    def plain(aspects: tuple[str, ...]) -> Scale:
        """Scores as they are."""
        return Scale(aspects, (0.0,) * len(aspects), (1.0,) * len(aspects))


def save_scorer(model: Scorer, tokenizer: Tokenizer, scale: Scale, out: Path) -> None:
    """Write weights, configuration, tokenizer and scale into `out`; `transformers` loads it as a sequence classifier
    with the same scores, before the scale. Adapters go to `out/adapter` and are folded into the weights, as
    `save_tuned` does; the head that was trained beside them is among the weights."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(out)
    if adapters_of(model.decoder):
        save_adapter(model.decoder, out / FOLDER)
        fold(model.decoder)
    named = named_weights(model.decoder.config, model.decoder.state_dict())
    named.pop("lm_head.weight", None)
    named[HEAD] = model.output.weight.detach().cpu().contiguous()
    write_atomic(out / "model.safetensors", save(named, metadata={"format": "pt"}))
    shape = model.decoder.config
    config: dict[str, Any] = config_json(shape, **token_ids(tokenizer), dtype="float32") | {
        "architectures": [CLASSES[shape.layout] + "ForSequenceClassification"],
        "num_labels": len(scale.aspects),
        "id2label": {str(i): name for i, name in enumerate(scale.aspects)},
        "label2id": {name: i for i, name in enumerate(scale.aspects)},
    }
    write_atomic(out / "config.json", json.dumps(config, indent=2) + "\n")
    write_json(
        out / SCALE_FILE,
        {"aspects": list(scale.aspects), "mean": list(scale.mean), "spread": list(scale.spread)},
    )


def load_scorer(folder: Path, device: torch.device | str = "cpu") -> tuple[Scorer, Tokenizer, Scale]:
    """The reward model in `folder`, in float32. Raises Refused where it is none, or is not whole."""
    from exnihilo.tokenizer.tokenizer import Tokenizer

    config = read_config(folder)
    named = read_weights(folder)
    path = folder / WEIGHTS
    if HEAD not in named:
        raise Refused(f"{folder}: a model without scores; give a reward model (exnihilo reward)")
    scale = _scale(folder, len(named[HEAD]))
    decoder = Decoder.empty(config)
    # Of the output head of an untied decoder nothing is used.
    unused = {} if config.tied else {"lm_head.weight": torch.zeros_like(decoder.head_weight)}
    own = own_weights(config, named | unused)
    with torch.device("meta"):  # as in Decoder.empty: nothing is drawn
        model = Scorer(decoder, len(scale.aspects))
    model.output.to_empty(device="cpu")
    try:
        decoder.load_state_dict({name: tensor.float() for name, tensor in own.items()})
        model.output.load_state_dict({"weight": named[HEAD].float()})
    except (KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip().rstrip(".")
        raise Refused(
            f"{path}: weights do not match config.json ({reason}); make the reward model again"
        ) from error
    return model.to(device), Tokenizer.load(folder), scale


def _scale(folder: Path, aspects: int) -> Scale:
    path = folder / SCALE_FILE
    if not path.is_file():
        return Scale.plain(tuple(str(i) for i in range(aspects)))
    raw = read_json(path, "make the reward model again")
    found = Scale(tuple(raw["aspects"]), tuple(raw["mean"]), tuple(raw["spread"]))
    if not len(found.aspects) == len(found.mean) == len(found.spread) == aspects:
        raise Refused(
            f"{path}: {len(found.aspects)} aspects, and the model has {aspects}; make the reward model again"
        )
    return found
