"""A model folder in the Hugging Face layout: written so that `transformers` loads it with no custom code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from exnihilo.core.artifact import write_atomic
from exnihilo.core.errors import ExnihiloError, Refused
from exnihilo.model.config_json import config_json, read_config
from exnihilo.model.decoder import Decoder
from exnihilo.model.layouts import named_weights, own_weights
from exnihilo.model.lora import LoraLinear
from exnihilo.tokenizer.folder import read_json

if TYPE_CHECKING:
    from exnihilo.tokenizer.tokenizer import Tokenizer

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


def to_transformers(model: Decoder) -> dict[str, Tensor]:
    """Weights under the names of `transformers`; fused matrices are split, a tied head is left out.

    Raises ExnihiloError for a model with adapters, which have no place in that layout.
    """
    if any(isinstance(module, LoraLinear) for module in model.modules()):
        raise ExnihiloError(
            "the model has adapters: save it with save_tuned, or fold them into its weights first"
        )
    return named_weights(model.config, model.state_dict())


def token_ids(tokenizer: Tokenizer) -> dict[str, int]:
    """The ids of special tokens that a model's configuration names."""
    return {"bos": tokenizer.bos, "end": tokenizer.end, "eos": tokenizer.eos, "pad": tokenizer.pad}


def save_model(model: Decoder, tokenizer: Path, out: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write weights, `config.json`, `generation_config.json` and the tokenizer's files into `out`."""
    from exnihilo.tokenizer.tokenizer import Tokenizer

    loaded = Tokenizer.load(tokenizer)
    out.mkdir(parents=True, exist_ok=True)
    ids = token_ids(loaded)
    loaded.save(out)
    named = {name: tensor.to(dtype) for name, tensor in to_transformers(model).items()}
    write_atomic(out / WEIGHTS, save(named, metadata={"format": "pt"}))
    config = config_json(model.config, **ids, dtype=str(dtype).removeprefix("torch."))
    write_atomic(out / "config.json", json.dumps(config, indent=2) + "\n")
    generation = {
        "bos_token_id": ids["bos"],
        "eos_token_id": config["eos_token_id"],
        "pad_token_id": ids["pad"],
        "do_sample": False,
    }
    write_atomic(out / "generation_config.json", json.dumps(generation, indent=2) + "\n")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All weights of a folder, from one file or from the parts that an index names, as they are stored.

    Raises Refused where there are none, or a file is missing or cut short.
    """
    names = [WEIGHTS]
    if not (folder / WEIGHTS).is_file():
        if not (folder / INDEX).is_file():
            pickled = any(folder.glob("pytorch_model*.bin"))
            advice = "save the model as safetensors" if pickled else "make or fetch the model again"
            raise Refused(f"{folder}: no {WEIGHTS} beside config.json; {advice}")
        places = read_json(folder / INDEX, "fetch the model again").get("weight_map")
        if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
            raise Refused(f"{folder / INDEX}: its weight_map names no files; fetch the model again")
        names = sorted(set(places.values()))
    weights: dict[str, Tensor] = {}
    for name in names:
        path = folder / name
        if path.parent != folder or not path.is_file():
            raise Refused(f"{folder}: {INDEX} names {name}, which is not there; fetch it again")
        try:
            weights |= load_file(path)
        except SafetensorError as error:
            raise Refused(f"{path}: cut short or altered ({error}); make or fetch the model again") from error
    return weights


def stored_dtype(folder: Path) -> torch.dtype:
    """The precision that a folder's weights are stored in, by the header of the first file that has them."""
    path = folder / WEIGHTS
    if not path.is_file():
        path = folder / min(read_json(folder / INDEX, "fetch the model again")["weight_map"].values())
    with safe_open(path, "pt") as file:
        dtype: torch.dtype = file.get_tensor(next(iter(file.keys()))).dtype
    return dtype


def load_model(folder: Path, device: torch.device | str = "cpu") -> Decoder:
    """The model in `folder`, in float32. Raises Refused where weights are missing, cut short or of other shapes."""
    config = read_config(folder)
    named = read_weights(folder)
    path = folder / WEIGHTS
    broken = [name for name, tensor in named.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise Refused(f"{path}: {broken[0]} holds values that are not finite; make or fetch the model again")
    model = Decoder.empty(config)
    try:
        own = {name: tensor.float() for name, tensor in own_weights(config, named).items()}
        model.load_state_dict(own)
    except (KeyError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip().rstrip(".")
        raise Refused(
            f"{path}: weights do not match config.json ({reason}); put back the file that belongs to them"
        ) from error
    return model.to(device)


def load_with_tokenizer(folder: Path, device: torch.device | str = "cpu") -> tuple[Decoder, Tokenizer]:
    """The model in `folder`, in float32, and its tokenizer.

    Raises Refused as `load_model` and `Tokenizer.load`, and where the tokenizer has ids that the model has not.
    """
    from exnihilo.tokenizer.tokenizer import Tokenizer

    tokenizer, model = Tokenizer.load(folder), load_model(folder, device)
    if tokenizer.vocab_size > model.config.vocab_size:
        raise Refused(
            f"{folder}: its tokenizer has {tokenizer.vocab_size} ids, the model {model.config.vocab_size}; "
            "put back the tokenizer that the model was trained with"
        )
    return model, tokenizer
