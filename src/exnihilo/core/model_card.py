"""The model card: a `README.md` with Hugging Face front matter, made from a model's manifest and folder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import yaml

from exnihilo.core.cost import cost
from exnihilo.core.files import sweep, write_atomic

CARD = "README.md"

# Licences that the Hub knows by an identifier of its own; any other is `license: other` with a name.
HUB_LICENCES = {
    "agpl-3.0", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "eupl-1.1", "gfdl", "gpl-2.0", "gpl-3.0",
    "isc", "lgpl-2.1", "lgpl-3.0", "mit", "mpl-2.0", "odbl", "odc-by", "pddl", "unlicense", "wtfpl", "zlib",
}  # fmt: skip

MADE_BY = {
    "pretrain": "pretrained from random weights on plain text",
    "sft": "instruction-tuned{} on conversations, with the loss on the assistant's tokens only",
    "grpo": "aligned{} by reinforcement learning with verifiable rewards",
    "merge": "made{} by adding low-rank adapters to its weights",
}

CHAT_CODE = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
messages = [{"role": "user", "content": "What can you tell me?"}]
inputs = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
output = model.generate(**inputs, max_new_tokens=64)
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
"""

TEXT_CODE = """\
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
inputs = tokenizer(tokenizer.bos_token + "Once", return_tensors="pt", return_token_type_ids=False)
output = model.generate(**inputs, max_new_tokens=64)
print(tokenizer.decode(output[0], skip_special_tokens=True))
"""


def card(
    manifest: Mapping[str, Any], folder: Path, scores: Mapping[str, Mapping[str, Any]] | None = None
) -> str:
    """Markdown for the model in `folder`.

    `scores` are its evaluation, by metric `{"value", "n", "low", "high"}`; without them the card says that
    there is none yet.
    """
    shape = _read_json(folder / "config.json")
    parts = [
        front_matter(manifest),
        f"# {manifest['stage']}",
        _introduction(manifest, shape, folder),
        "## How to use\n\nFrom inside this folder, offline:\n\n```python\n"
        + (TEXT_CODE if manifest["do"] == "pretrain" else CHAT_CODE)
        + "```\n\nOr talk to it in the terminal: `exnihilo chat .` (`--web` opens a page).",
        "## Training data\n\n" + _data(manifest.get("provenance", [])),
        "## Evaluation\n\n" + _evaluation(scores),
        "## Hyper-parameters\n\n" + _table(["Key", "Value"], _flat(manifest.get("config", {}))),
        "## Cost\n\n" + _cost(manifest),
        "## Limits\n\n" + _limits(shape),
        "## Lineage\n\n" + _lineage(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def write_card(
    folder: Path, manifest: Mapping[str, Any], scores: Mapping[str, Mapping[str, Any]] | None = None
) -> None:
    """Write the model's card to `README.md` in its folder, which is no part of the artifact's content."""
    sweep(folder)  # a card that a kill left half written would be a file that does not belong to the artifact
    write_atomic(folder / CARD, card(manifest, folder, scores))


def front_matter(manifest: Mapping[str, Any]) -> str:
    """The YAML block that the Hub reads. The language stands there where the provenance names one."""
    provenance = manifest.get("provenance", [])
    languages = sorted({str(entry["language"]) for entry in provenance if entry.get("language")})
    fields: dict[str, Any] = {"language": languages} if languages else {}
    fields |= _licence({str(entry.get("licence") or "unknown") for entry in provenance})
    fields |= {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["exnihilo", str(manifest["do"])],
    }
    return "---\n" + yaml.safe_dump(fields, sort_keys=False, allow_unicode=True) + "---"


def _licence(licences: set[str]) -> dict[str, str]:
    names = sorted(licences) or ["unknown"]
    if len(names) == 1 and names[0].lower() in HUB_LICENCES | {"unknown"}:
        return {"license": names[0].lower()}
    slugs = [re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-") for name in names]
    return {"license": "other", "license_name": "-and-".join(slugs)}


def _introduction(manifest: Mapping[str, Any], shape: Mapping[str, Any], folder: Path) -> str:
    parents = [entry for entry in manifest.get("inputs", []) if entry.get("kind") == "model"]
    parent = f" from the model `{parents[0]['name']}`" if parents else ""
    made = MADE_BY.get(manifest["do"], f"made{{}} by the stage `{manifest['do']}`").format(parent)
    text = f"A language model, {made}, with exnihilo {manifest['code']['version']}."
    facts = [f"{parameters_of(folder):,} parameters"] if (folder / "model.safetensors").is_file() else []
    if shape:
        depth = _first_of(shape, "num_hidden_layers", "n_layer")
        width = _first_of(shape, "hidden_size", "n_embd")
        family = str(shape.get("model_type", "qwen3")).capitalize().replace("Gpt", "GPT-")
        facts += [
            f"{depth} layer{'s' * (depth != 1)} of width {width} in the {family} layout",
            f"a vocabulary of {shape['vocab_size']:,}",
            f"a context of {_context(shape):,} tokens",
        ]
    return text + (" It has " + ", ".join(facts) + "." if facts else "")


def _context(shape: Mapping[str, Any]) -> int:
    return int(_first_of(shape, "max_position_embeddings", "n_positions"))


def _first_of(shape: Mapping[str, Any], *names: str) -> Any:
    """A number of `config.json` by the first name that it has: GPT-2 has names of its own."""
    return next(shape[name] for name in names if name in shape)


def parameters_of(folder: Path) -> int:
    """Parameters by the header of the safetensors file: eight bytes of length, then JSON."""
    with (folder / "model.safetensors").open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    return sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def _data(provenance: Sequence[Mapping[str, Any]]) -> str:
    if not provenance:
        return "The provenance of the training data was not recorded."
    totals: dict[str, float] = {}
    for entry in provenance:
        totals[entry["unit"]] = totals.get(entry["unit"], 0) + entry["amount"]
    rows = [
        [
            entry["source"],
            entry.get("licence") or "unknown",
            entry.get("generator") or "people",
            f"{entry['amount']:,.0f} {entry['unit']}",
            f"{entry['amount'] / totals[entry['unit']]:.1%}" if totals[entry["unit"]] else "-",
        ]
        for entry in provenance
    ]
    return _table(["Source", "Licence", "Written by", "Amount", "Share"], rows) + (
        "\n\nThe licences are those of the data. Which one the weights carry, whoever publishes them says."
    )


def _evaluation(scores: Mapping[str, Mapping[str, Any]] | None) -> str:
    if not scores:
        return "Not evaluated yet."
    rows = [
        [name, f"{s['value']:.4g}", f"{s['low']:.4g} to {s['high']:.4g}", f"{s['n']:,}"]
        for name, s in scores.items()
    ]
    return _table(["Metric", "Value", "95 % interval", "n"], rows)


def _cost(manifest: Mapping[str, Any]) -> str:
    spent = cost(manifest["seconds"], manifest["machine"])
    machine = manifest["machine"]
    lines = [f"{manifest['seconds']:,.0f} s on {machine['cores']} cores of {machine['cpu']}."]
    if manifest.get("metrics", {}).get("flops"):
        lines.append(f"{manifest['metrics']['flops']:.3g} floating-point operations of the model itself.")
    lines += [f"Energy: {spent.energy_formula}.", f"Carbon: {spent.carbon_formula}."]
    return "\n".join(f"- {line}" for line in lines) + "\n\nThis stage alone; its parents' cards tell theirs."


def _limits(shape: Mapping[str, Any]) -> str:
    limits = [
        "It knows what its training data says and little else, and can be wrong while it sounds sure.",
        "It has not been tested for harmful or biased output. Do not let it decide anything about people.",
    ]
    if shape:
        limits.append(f"What lies further back than {_context(shape):,} tokens it cannot see.")
    return "\n".join(f"- {limit}" for limit in limits)


def _lineage(manifest: Mapping[str, Any]) -> str:
    lines = [
        f"- {entry['field']}: `{entry['name']}` ({entry['kind']}, content `{entry['content'][:12]}`)"
        for entry in manifest.get("inputs", [])
    ]
    lines.append(f"- seed: {manifest['seed']}")
    lines.append(f"- code: exnihilo {manifest['code']['version']}")
    return "\n".join(lines) + "\n\n`exnihilo lineage .` follows it back to the raw text."


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[list[str]]:
    rows: list[list[str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append([f"`{prefix}{key}`", json.dumps(value, ensure_ascii=False)])
    return rows


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """A cell of a Markdown table: one line, with no bar or markup of its own."""
    return re.sub(r"\s+", " ", text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
