"""A run's folder as the quickstart leaves it, with the files that the report reads and made-up numbers."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from blake3 import blake3

from exnihilo.evaluate.paired import default_pairs
from exnihilo.evaluate.results import assemble

# What a model may say; none of it may do anything on the page but be read.
HOSTILE = (
    "<script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title = 'owned'</script>",
    "<a href=\"javascript:document.title='owned'\">press</a>",
    "]]></pre></div><h1>owned</h1>",
)

# Family: its question and answer, and how many of 100 base, sft and aligned get right.
FAMILIES = {
    "arithmetic": ("What does `(3 + {}) * 2` evaluate to?", "14", (1, 34, 58)),
    "doc": ("What does `textwrap.dedent` do? ({})", "Remove any common leading whitespace.", (2, 41, 42)),
    "module": ("Which module defines `OrderedDict`? ({})", "collections", (5, 62, 64)),
    "raises": ("What does `[3, 5][{}]` raise?", "IndexError", (3, 57, 71)),
    "sequence": ("What is `'meadow'[1:{}]`?", "'ead'", (0, 31, 62)),
    "truth": ("Is `{} in [3, 7, 9]` true?", "Yes", (20, 66, 83)),
    "type": ("What is the type of `{} / 2`?", "float", (4, 78, 91)),
    "unknown": ("Who won match {} last night?", "I don't know.", (0, 93, 95)),
    "valid": ("Does `for i in range({}) print(i)` compile?", "No", (10, 70, 69)),
}
TRAINED = ["arithmetic", "raises", "sequence", "truth", "type"]
MODELS = {"base": 1.52, "sft": 1.55, "aligned": 1.56}
PER_FAMILY = 70

YARDSTICK = {"xz_bits_per_byte": 1.69, "xz_primed_bits_per_byte": 1.38}
PYTHON = [
    {"source": "python-docs", "licence": "PSF-2.0", "generator": "", "amount": 2_912_044, "unit": "bytes"},
    {"source": "python-source", "licence": "PSF-2.0", "generator": "", "amount": 7_331_870, "unit": "bytes"},
]
WORLD = [
    {
        "source": "python-world",
        "licence": "Apache-2.0",
        "generator": "introspection",
        "amount": 12_000,
        "unit": "conversations",
    }
]
SOLD = {"tokens": 5_324_800, "flops": 1.1e14, "tokens_per_second": 17_000.0}

# Name: verb, kind, inputs, seconds, metrics of the manifest, provenance.
Plan = dict[str, tuple[str, str, dict[str, list[str]], float, dict[str, Any], list[dict[str, Any]]]]
STAGES: Plan = {
    "corpus": ("collect", "corpus", {}, 21.0, {"documents": 1850, "bytes": 13_120_000}, PYTHON),
    "curated": (
        "curate",
        "corpus",
        {"corpus": ["corpus"]},
        14.2,
        {"bytes": 10_243_914, "removed": {"too short": 71}, **YARDSTICK},
        PYTHON,
    ),
    "tokenizer": ("tokenizer", "tokenizer", {"corpus": ["curated"]}, 6.1, {"vocabulary": 4096}, PYTHON),
    "tokens": (
        "tokenize",
        "tokens",
        {"corpus": ["curated"], "tokenizer": ["tokenizer"]},
        4.4,
        {"tokens": 2_830_000, "bytes_per_token": 3.62},
        PYTHON,
    ),
    "world": ("python-world", "examples", {"corpus": ["curated"]}, 9.0, {"train": 12_000}, WORLD),
    "base": ("pretrain", "model", {"tokens": ["tokens"]}, 291.0, SOLD, PYTHON),
    "sft": ("sft", "model", {"model": ["base"], "examples": ["world"]}, 122.0, SOLD, WORLD + PYTHON),
    "aligned": ("grpo", "model", {"model": ["sft"], "examples": ["world"]}, 98.0, SOLD, WORLD),
    "scores": (
        "evaluate",
        "results",
        {"models": list(MODELS), "items": ["world"], "corpus": ["curated"]},
        61.0,
        {},
        WORLD,
    ),
}


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run; tests only read it."""
    return write_run(tmp_path_factory.mktemp("runs") / "quickstart")


@pytest.fixture
def part_of_run(full_run: Path, tmp_path: Path) -> Callable[..., Path]:
    """`part_of_run("corpus", …)`: a run of its own with these stages, recipe.yaml and run.json."""

    def copy(*stages: str) -> Path:
        run = tmp_path / "quickstart"
        run.mkdir()
        for name in (*stages, "recipe.yaml", "run.json"):
            kind = shutil.copytree if (full_run / name).is_dir() else shutil.copy2
            kind(full_run / name, run / name)
        return run

    return copy


def write_run(run: Path) -> Path:
    for number, (name, (verb, kind, inputs, seconds, metrics, provenance)) in enumerate(STAGES.items()):
        (run / name).mkdir(parents=True)
        manifest = {
            "schema": 1,
            "kind": kind,
            "stage": name,
            "do": verb,
            "key": blake3(f"key {name}".encode()).hexdigest(),
            "content": content(name),
            "files": {},
            "config": {"steps": 100, "optimizer": {"lr": 0.02}} if kind == "model" else {},
            "inputs": [
                {
                    "field": field,
                    "name": one,
                    "path": f"../{one}",
                    "kind": STAGES[one][1],
                    "content": content(one),
                }
                for field, names in inputs.items()
                for one in names
            ],
            "seed": 1,
            "code": {"version": "0.1.0", "commit": "4f1c0de", "dirty": False},
            "libraries": {"torch": "2.13.0", "tokenizers": "0.22.1"},
            "machine": {"cpu": "Some CPU @ 2.40GHz", "cores": 2, "memory_gib": 7.8, "python": "3.11.9"},
            "created": f"2025-11-21T10:{number:02d}:00+00:00",
            "seconds": seconds,
            "metrics": metrics,
            "provenance": provenance,
            "lines": [f"{name} is done"],
        }
        write_json(run / name / "manifest.json", manifest)
        if kind == "model":
            write_training(run / name, reinforcement=verb == "grpo")
            write_model(run / name)
    write_curation(run / "curated")
    write_results(run / "scores")
    recipe = {
        "seed": 1,
        "description": "Python's own library as corpus, teacher and judge.",
        "stages": {name: {"do": plan[0]} for name, plan in STAGES.items()},
    }
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    write_json(run / "run.json", {"command": ["exnihilo", "run", "quickstart"], "seed": 1})
    return run


def content(name: str) -> str:
    return blake3(f"content {name}".encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")


def write_lines(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def write_training(folder: Path, *, reinforcement: bool) -> None:
    write_lines(folder / "metrics.jsonl", list(training(1000, reinforcement=reinforcement)))
    samples = [
        {
            "step": step,
            "prompt": prompt,
            "text": text if step == 1000 else f"{prompt} at step {step}\n    return",
        }
        for step in range(125, 1001, 125)
        for prompt, text in zip(("import", "def parse(", "What is `2 + 2`?"), HOSTILE, strict=False)
    ]
    write_lines(folder / "samples.jsonl", samples)


def training(steps: int, *, reinforcement: bool) -> Iterator[dict[str, Any]]:
    """Lines of metrics.jsonl as the trainer writes them; the first loss is not a number."""
    draw = random.Random(steps)
    average = 8.0
    for step in range(10, steps + 1, 10):
        share = step / steps
        loss = 2.3 + 5.7 * math.exp(-6 * share) + draw.gauss(0, 0.08)
        average = 0.9 * average + 0.1 * loss
        line: dict[str, Any] = {"step": step, "tokens": step * 2048, "loss": loss, "ema": average}
        line |= {"lr": 0.02 * (1 - share), "grad_norm": 1 / (1 + step / 90), "tokens_per_second": 17_000.0}
        line |= {"mfu": None, "time": 0.11 * step}
        if step == 10:
            line["grad_norm"] = math.nan
        if reinforcement:
            yield {"step": step, "reward": 0.45 + 0.3 * share, "response_length": 17 + 4 * share, "flat": 0.4}
            line |= {"kl": 0.08 * share, "entropy": 0.4 - 0.2 * share, "clipped": 0.001}
        yield line
        if step % 100 == 0 and not reinforcement:
            found = {"validation_loss": average + 0.05, "validation_bits_per_byte": (average + 0.05) / 2.2}
            yield {"step": step, "tokens": step * 2048, **found}


def write_model(folder: Path) -> None:
    """`config.json` and a weights file with a header and no weights: what a model card reads."""
    config = {"hidden_size": 192, "num_hidden_layers": 5, "vocab_size": 4096, "max_position_embeddings": 256}
    write_json(folder / "config.json", config)
    header = json.dumps({"weights": {"dtype": "F32", "shape": [4096, 640], "data_offsets": [0, 0]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


def write_curation(folder: Path) -> None:
    removed = {"exact duplicate": 96, "too short": 71, "held-out near-duplicate of training text": 46}
    curation = {
        "read": 1850,
        "train": {"documents": 1507, "bytes": 10_243_914},
        "held_out": {"documents": 130, "bytes": 611_002},
        "removed": {reason: {"count": count, "examples": ["0a1b"]} for reason, count in removed.items()},
        "yardstick": YARDSTICK,
    }
    write_json(folder / "curation.json", curation)


def write_results(folder: Path) -> None:
    items = {name: answers(i, name) for i, name in enumerate(MODELS)}
    texts = {name: documents(level, name) for name, level in MODELS.items()}
    for name in MODELS:
        write_lines(folder / "items" / f"{name}.jsonl", items[name])
        write_lines(folder / "documents" / f"{name}.jsonl", texts[name])
    majority = [
        {**item, "correct": int(item["id"].split("-")[1]) < (34 if item["answer"] in ("Yes", "No") else 9)}
        for item in items["base"]
    ]
    pairs = default_pairs(list(MODELS))
    write_json(
        folder / "results.json", assemble(list(MODELS), texts, items, majority, pairs, TRAINED, seed=1)
    )


def answers(model: int, name: str) -> list[dict[str, Any]]:
    """`PER_FAMILY` items a family; what the base model gets wrong first is hostile."""
    records = []
    for family, (question, answer, chances) in FAMILIES.items():
        for i in range(PER_FAMILY):
            # Mostly one draw an item, so that a better model keeps most of what a worse one could do.
            luck = (
                80 * random.Random(f"{family}{i}").random()
                + 20 * random.Random(f"{family}{i}{name}").random()
            )
            correct = luck < chances[model]
            wrong = HOSTILE[i % len(HOSTILE)] if model == 0 else "It is `7`."
            records.append(
                {
                    "id": f"{family}-{i}",
                    "family": family,
                    "prompt": question.format(i),
                    "answer": answer,
                    "output": f"It is `{answer}`." if correct else wrong,
                    "got": answer if correct else wrong,
                    "correct": correct,
                    "finish": "length" if model == 0 and not correct else "stop",
                }
            )
    return records


def documents(level: float, name: str) -> list[dict[str, Any]]:
    """130 documents of two sources at about `level` bits per byte."""
    records = []
    for i in range(130):
        shared, own = random.Random(f"document {i}"), random.Random(f"{name}{i}")
        size = int(shared.lognormvariate(8.5, 1))
        bits = size * (level + shared.gauss(0, 0.15) + own.gauss(0, 0.01))
        source = "python-source" if i % 2 else "python-docs"
        record = {"id": f"d{i}", "source": source, "bytes": size, "tokens": size // 3}
        records.append({**record, "nats": bits * math.log(2), "bits": bits})
    return records
