"""Adapters on disk in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors`.

`peft` loads such a folder on the base model's, and what `peft` saved is read here. The file of weights says in its
metadata on which base the adapters were trained, as a hash of that model's weights.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from exnihilo.core.errors import Refused
from exnihilo.core.files import write_atomic, write_json
from exnihilo.model.adapters import adapters_of, attach, fold, lora_layers, projections
from exnihilo.model.decoder import Decoder
from exnihilo.model.fingerprint import weights_hash
from exnihilo.model.folder import save_model
from exnihilo.model.layouts import named_weights
from exnihilo.model.lora import Adapter

FOLDER = "adapter"
"""Where a model folder keeps the adapters that were merged into its weights."""
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE = "base_blake3"
BEFORE = "base_model.model."
A, B, MAGNITUDE = ".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"

# Keys of PEFT's config that are read here, and those that say nothing about what is computed. Any other one that is
# set stands for something that is not done here (and new ones come with every release), so that it is refused.
READ = {"alpha_pattern", "bias", "init_lora_weights", "lora_alpha", "lora_dropout", "peft_type", "use_rslora"}
HARMLESS = {
    "auto_mapping", "base_model_name_or_path", "ensure_weight_tying", "eva_config", "exclude_modules",
    "fan_in_fan_out",  # a matter of GPT-2's matrices alone, and A and B are the same either way
    "inference_mode", "layers_pattern", "layers_to_transform", "megatron_core", "peft_version",
    "qalora_group_size", "r", "rank_pattern", "revision", "target_modules", "task_type", "use_dora",
}  # fmt: skip


def fingerprint(model: Decoder) -> str:
    """Hash of a model's weights, adapters left out: by it adapters name the base that they belong to.

    The same for a model in memory and after saving and loading it, however its matrices are fused.
    """
    own = {
        name.replace(".base.", "."): tensor
        for name, tensor in model.state_dict().items()
        if ".adapters." not in name
    }
    return weights_hash(named_weights(model.config, own))


def save_adapter(model: Decoder, out: Path) -> None:
    """Write the adapters of a model into the folder `out`. Raises Refused where there are none."""
    adapters = adapters_of(model)
    if not adapters:
        raise Refused(f"{out}: the model has no adapters to save")
    tensors: dict[str, Tensor] = {}
    for name, adapter in adapters.items():
        named = {A: adapter.A, B: adapter.B, MAGNITUDE: adapter.magnitude}
        tensors |= {BEFORE + name + end: tensor for end, tensor in named.items() if tensor is not None}
    on_disk = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_json(out / CONFIG, _peft_config(model, adapters))
    file = save(on_disk, metadata={"format": "pt", BASE: fingerprint(model)})
    write_atomic(out / WEIGHTS, _with_sorted_metadata(file))


def _with_sorted_metadata(file: bytes) -> bytes:
    """A safetensors file with its metadata in order: the library writes them in another one each time, and equal
    adapters are to be equal files."""
    size = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8, as in the library's own files
    return len(text).to_bytes(8, "little") + text + file[8 + size :]


def save_tuned(model: Decoder, tokenizer: Path, out: Path) -> None:
    """`save_model` of a model that may have adapters: they go to `out/adapter` and are folded into the weights, so that
    whatever loads a model folder needs to know nothing of them."""
    if adapters_of(model):
        save_adapter(model, out / FOLDER)
        fold(model)
    save_model(model, tokenizer, out)


def load_adapter(model: Decoder, folder: Path) -> None:
    """Put the adapters in `folder`, ours or PEFT's, on a model without any, and freeze the rest of it.

    Raises Refused where files are missing, cut short or of another kind of adapter, where the adapters do not fit the
    model's layers, and where they say that they were trained on another base.
    """
    config = _read_config(folder / CONFIG)
    tensors, metadata = _read_weights(folder / WEIGHTS)
    if metadata.get(BASE, base := fingerprint(model)) != base:
        raise Refused(
            f"{folder}: trained on the model of weights {metadata[BASE][:12]}, and this one's are {base[:12]}; "
            "load it on the model that it was trained on"
        )
    rest = {name.removeprefix(BEFORE): tensor for name, tensor in tensors.items()}
    adapters = {}
    for name, weight in projections(model):
        if name + A in rest and name + B in rest:
            a, b, magnitude = rest.pop(name + A), rest.pop(name + B), rest.pop(name + MAGNITUDE, None)
            _check_shapes(a, b, magnitude, weight, f"{folder / WEIGHTS}: the adapter of {name}")
            lengths = None if magnitude is None else magnitude.to(weight)
            adapters[name] = Adapter(a.to(weight), b.to(weight), _scale(config, name, len(a)), lengths)
    if rest or not adapters:
        found = f"{min(rest)} belongs to no layer of this model" if rest else "it holds no adapters"
        raise Refused(f"{folder / WEIGHTS}: {found}; load it on the model that it was trained on")
    attach(model, adapters, dropout=float(config.get("lora_dropout", 0.0)))


def _check_shapes(a: Tensor, b: Tensor, magnitude: Tensor | None, weight: Tensor, what: str) -> None:
    rows, columns = weight.shape
    fits = a.ndim == b.ndim == 2 and a.shape[1] == columns and b.shape == (rows, len(a))
    if not fits or (magnitude is not None and magnitude.shape != (rows,)):
        raise Refused(
            f"{what} is {tuple(b.shape)} x {tuple(a.shape)}, and the layer {rows} x {columns}; load it on the "
            "model that it was trained on"
        )


def _peft_config(model: Decoder, adapters: Mapping[str, Adapter]) -> dict[str, Any]:
    """What `peft` needs to put the same adapters on the same layers."""
    short = {name.rpartition(".")[2] for name in adapters}
    named_so = {name for name, _ in projections(model) if name.rpartition(".")[2] in short}
    ranks = {name: adapter.rank for name, adapter in adapters.items()}
    alphas = {name: _tidy(adapter.scale * adapter.rank) for name, adapter in adapters.items()}
    rank, alpha = _usual(ranks), _usual(alphas)
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": alpha,
        "rank_pattern": {name: value for name, value in ranks.items() if value != rank},
        "alpha_pattern": {name: value for name, value in alphas.items() if value != alpha},
        "lora_dropout": lora_layers(model)[0].dropout,
        "target_modules": sorted(short if named_so == adapters.keys() else adapters),
        "bias": "none",
        "fan_in_fan_out": model.config.layout == "gpt2",
        "modules_to_save": None,
        "use_dora": any(adapter.magnitude is not None for adapter in adapters.values()),
        "use_rslora": False,
        "init_lora_weights": True,
    }


def _usual(values: Mapping[str, Any]) -> Any:
    return Counter(values.values()).most_common(1)[0][0]


def _tidy(value: float) -> int | float:
    return round(value) if value == round(value) else value


def _scale(config: Mapping[str, Any], name: str, rank: int) -> float:
    alpha = config["lora_alpha"]
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", name):
            alpha = value
            break
    return float(alpha / (rank**0.5 if config.get("use_rslora") else rank))


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict) or not isinstance(config.get("lora_alpha", 8), int | float):
            raise ValueError("no mapping of settings with a number as lora_alpha")
    except FileNotFoundError as error:
        raise Refused(f"{path.parent}: no {CONFIG}, so this is no folder of adapters") from error
    except ValueError as error:
        raise Refused(f"{path}: broken ({error}); save the adapters again") from error
    config = {"lora_alpha": 8, **config}
    kind = config.get("peft_type")
    if kind != "LORA":
        raise Refused(f"{path}: peft_type is {kind!r}; only 'LORA' is known")
    initial = config.get("init_lora_weights", True)
    wrong = {key: value for key, value in config.items() if value and key not in READ | HARMLESS}
    if config.get("bias", "none") != "none":
        wrong["bias"] = config["bias"]
    if isinstance(initial, str) and initial not in ("gaussian", "eva", "orthogonal"):
        wrong["init_lora_weights"] = initial  # PiSSA and its kin change the base's weights, too
    if wrong:
        key = min(wrong)
        raise Refused(
            f"{path}: {key} is {wrong[key]!r}, which is not known here; merge the adapters with peft "
            "(merge_and_unload) and load the model"
        )
    return config


def _read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise Refused(f"{path.parent}: no {WEIGHTS} beside {CONFIG}; save the adapters as safetensors")
    try:
        with safe_open(path, "pt") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except SafetensorError as error:
        raise Refused(f"{path}: cut short or altered ({error}); save the adapters again") from error
