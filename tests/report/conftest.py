"""A run folder as the quickstart leaves it, with the files that the report reads and made-up numbers."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from blake3 import blake3

from exnihilo.evaluate.results import assemble
from exnihilo.model.config import DecoderConfig

HOSTILE = [
    "<script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "</script><script>document.title = 'owned'</script>",
    "<a href=\"javascript:document.title='owned'\">press</a>",
    "]]></pre></div><h1>owned</h1>",
]

FAMILIES = {
    "arithmetic": (0.01, 0.34, 0.58),
    "doc": (0.02, 0.41, 0.42),
    "module": (0.05, 0.62, 0.64),
    "raises": (0.03, 0.57, 0.71),
    "sequence": (0.00, 0.31, 0.62),
    "truth": (0.20, 0.66, 0.83),
    "type": (0.04, 0.78, 0.91),
    "unknown": (0.00, 0.93, 0.95),
    "valid": (0.10, 0.70, 0.69),
}

WHAT_THE_WRITER_MADE = {
    "arithmetic": ("What does `(3 + 4) * 2` evaluate to?", "14"),
    "doc": (
        "What does `textwrap.dedent` do?",
        "Remove any common leading whitespace from every line in `text`.",
    ),
    "module": ("Which module defines `OrderedDict`?", "collections"),
    "raises": ("What does `[3, 5][4]` raise?", "IndexError"),
    "sequence": ("What is `'meadow'[1:4]`?", "'ead'"),
    "truth": ("Is `7 in [3, 7, 9]` true?", "Yes"),
    "type": ("What is the type of `4 / 2`?", "float"),
    "unknown": ("Who won the match last night?", "I don't know."),
    "valid": ("Does `for i in range(3) print(i)` compile?", "No"),
}


def write_stage(
    run: Path,
    name: str,
    do: str,
    kind: str,
    inputs: Mapping[str, Sequence[str]],
    *,
    seconds: float,
    config: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    provenance: Sequence[Mapping[str, Any]] = (),
    lines: Sequence[str] = (),
) -> Path:
    """One artifact's folder with a manifest as `core` writes it."""
    folder = run / name
    folder.mkdir(parents=True)
    read = lambda stage: json.loads((run / stage / "manifest.json").read_text())  # noqa: E731
    manifest = {
        "schema": 1,
        "kind": kind,
        "stage": name,
        "do": do,
        "key": blake3(f"key {name}".encode()).hexdigest(),
        "content": blake3(f"content {name}".encode()).hexdigest(),
        "files": {},
        "config": dict(config or {}),
        "inputs": [
            {
                "field": field,
                "name": one,
                "path": f"../{one}",
                "kind": read(one)["kind"],
                "content": read(one)["content"],
            }
            for field, names in inputs.items()
            for one in names
        ],
        "seed": 1,
        "code": {"version": "0.1.0", "commit": "4f1c0de", "dirty": False},
        "libraries": {"torch": "2.13.0", "tokenizers": "0.22.1"},
        "machine": {
            "cpu": "Some CPU @ 2.40GHz",
            "cores": 2,
            "memory_gib": 7.8,
            "os": "Linux 6.1",
            "python": "3.11.9",
        },
        "created": f"2025-11-21T10:{len(list(run.iterdir())):02d}:00+00:00",
        "seconds": seconds,
        "metrics": dict(metrics or {}),
        "provenance": list(provenance),
        "lines": list(lines),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2, ensure_ascii=False))
    return folder


def write_lines(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8"
    )


def answers(model: int, name: str) -> list[dict[str, Any]]:
    """70 items a family; the first ones carry hostile text."""
    records = []
    for family, chances in FAMILIES.items():
        question, answer = WHAT_THE_WRITER_MADE[family]
        for i in range(70):
            # One draw an item, so that a better model keeps most of what a worse one could do.
            luck = (
                random.Random(f"{family}{i}").random() * 0.8
                + random.Random(f"{family}{i}{name}").random() * 0.2
            )
            correct = luck < chances[model]
            wrong = (
                HOSTILE[i]
                if i < len(HOSTILE) and model == 0
                else "def test_" * 6
                if model == 0
                else "It is `7`."
            )
            records.append(
                {
                    "id": f"{family}-{i}",
                    "family": family,
                    "prompt": question,
                    "answer": answer,
                    "output": f"It is `{answer}`." if correct else wrong,
                    "got": answer if correct else wrong,
                    "correct": correct,
                    "finish": "length" if model == 0 and not correct else "stop",
                }
            )
    return records


def texts(level: float, name: str) -> list[dict[str, Any]]:
    """130 documents of two sources at about `level` bits per byte."""
    records = []
    for i in range(130):
        random_here = random.Random(f"document {i}")
        size = int(random_here.lognormvariate(8.5, 1))
        bits = size * (level + random_here.gauss(0, 0.15) + random.Random(f"{name}{i}").gauss(0, 0.01))
        records.append(
            {
                "id": f"d{i}",
                "source": "python-source" if i % 2 else "python-docs",
                "bytes": size,
                "tokens": size // 3,
                "nats": bits * math.log(2),
                "bits": bits,
            }
        )
    return records


def curve(steps: int, start: float, end: float, *, noise: float, seed: int) -> list[tuple[int, float]]:
    draw = random.Random(seed)
    return [
        (step, end + (start - end) * math.exp(-6 * step / steps) + draw.gauss(0, noise))
        for step in range(10, steps + 1, 10)
    ]


def write_training(folder: Path, steps: int, rows: int, *, reward: bool) -> None:
    records: list[dict[str, Any]] = []
    losses = curve(steps, 8.2, 2.3, noise=0.08, seed=steps)
    average = losses[0][1]
    for step, loss in losses:
        average = 0.9 * average + 0.1 * loss
        if reward:
            share = step / steps
            rollout = {
                "reward": 0.45 + 0.3 * share,
                "response_length": 17 + 4 * share,
                "ended": 1.0,
                "flat": 0.4,
                "unscorable": 0.0,
            }
            records.append({"step": step, **rollout})
        line = {
            "step": step, "tokens": step * rows * 256, "time": step * 0.11, "lr": 0.02 * (1 - step / steps),
            "grad_norm": 1 / (1 + step / 90), "tokens_per_second": 17000.0 + 300 * math.sin(step), "mfu": 0.41,
        }  # fmt: skip
        line |= {"loss": loss, "ema": average}
        if reward:
            line |= {"kl": 0.08 * share, "entropy": 0.4 - 0.2 * share, "clipped": 0.001, "sampler_gap": 1e-7}
        records.append(line)
        if step % (steps // 10) == 0 and not reward:
            validation = {
                "validation_loss": average + 0.05,
                "validation_bits_per_byte": (average + 0.05) / 2.2,
            }
            records.append({"step": step, "tokens": step * rows * 256, **validation})
    write_lines(folder / "metrics.jsonl", records)
    prompts = ["import ", "def parse(", "<|user|>What is `2 + 2`?"]
    samples = [
        {
            "step": step,
            "prompt": prompt,
            "text": HOSTILE[i] if step == steps else f"{prompt}json at step {step}\n    return",
        }
        for step in range(steps // 8, steps + 1, steps // 8)
        for i, prompt in enumerate(prompts)
    ]
    write_lines(folder / "samples.jsonl", samples)


def write_model(folder: Path) -> None:
    """`config.json` and a weights file with a header and no weights: what a model card reads."""
    shape = DecoderConfig(vocab_size=4096, width=192, depth=5, heads=6, kv_heads=6, head_dim=32, hidden=512)
    config = {
        "model_type": "qwen3",
        "hidden_size": shape.width,
        "num_hidden_layers": shape.depth,
        "vocab_size": shape.vocab_size,
        "max_position_embeddings": 256,
    }
    (folder / "config.json").write_text(json.dumps(config))
    header = {
        "weights": {"dtype": "F32", "shape": [shape.parameters], "data_offsets": [0, 4 * shape.parameters]}
    }
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)


PYTHON = [
    {"source": "python-docs", "licence": "PSF-2.0", "generator": "", "amount": 2_912_044, "unit": "bytes"},
    {"source": "python-source", "licence": "PSF-2.0", "generator": "", "amount": 7_331_870, "unit": "bytes"},
]
WORLD = [
    {
        "source": "python-world",
        "licence": "PSF-2.0",
        "generator": "python 3.11",
        "amount": 12_000,
        "unit": "conversations",
    }
]


@pytest.fixture(scope="session")
def make_run() -> Callable[[Path], Path]:
    """Writes a whole run into a folder."""
    return write_run


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run, read-only by agreement."""
    return write_run(tmp_path_factory.mktemp("runs") / "quickstart")


def write_run(run: Path) -> Path:
    run.mkdir(parents=True)
    write_stage(
        run, "corpus", "collect", "corpus", {}, seconds=21, provenance=PYTHON,
        metrics={"documents": 1720, "bytes": 13_120_000},
        lines=["took 860 Python documents, 9,900,000 bytes", "took 860 docs documents, 3,220,000 bytes"],
    )  # fmt: skip
    curated = write_stage(
        run, "curated", "curate", "corpus", {"corpus": ["corpus"]}, seconds=14.2, provenance=PYTHON,
        metrics={"documents": 1507, "bytes": 10_243_914, "xz_bits_per_byte": 1.69, "xz_primed_bits_per_byte": 1.38},
    )  # fmt: skip
    write_curation(curated)
    write_stage(
        run, "tokenizer", "tokenizer", "tokenizer", {"corpus": ["curated"]}, seconds=6.1,
        metrics={"vocabulary": 4096, "bytes_per_token": 3.62}, provenance=PYTHON,
    )  # fmt: skip
    write_stage(
        run, "tokens", "tokenize", "tokens", {"corpus": ["curated"], "tokenizer": ["tokenizer"]}, seconds=4.4,
        metrics={"tokens": 2_830_000, "documents": 1507, "bytes_per_token": 3.62}, provenance=PYTHON,
    )  # fmt: skip
    world = write_stage(
        run, "world", "python-world", "examples", {"corpus": ["curated"]}, seconds=9.0, provenance=WORLD,
        metrics={"train": 12_000, "held_out": 630, "families": 9},
    )  # fmt: skip
    write_lines(world / "held_out.jsonl", [])
    model_metrics = {"steps": 2600, "tokens": 5_324_800, "flops": 1.1e14, "tokens_per_second": 17_000.0}
    base = write_stage(
        run, "base", "pretrain", "model", {"tokens": ["tokens"]}, seconds=291.0, provenance=PYTHON,
        config={"steps": 2600, "rows": 8, "length": 256, "optimizer": {"name": "muon", "lr": 0.02}},
        metrics=model_metrics,
    )  # fmt: skip
    sft = write_stage(
        run, "sft", "sft", "model", {"model": ["base"], "examples": ["world"], "replay": ["tokens"]}, seconds=122.0,
        provenance=WORLD + PYTHON, metrics={**model_metrics, "flops": 4.4e13}, config={"steps": 900, "rows": 16},
    )  # fmt: skip
    aligned = write_stage(
        run, "aligned", "grpo", "model", {"model": ["sft"], "examples": ["world"]}, seconds=98.0,
        provenance=WORLD, metrics={**model_metrics, "flops": 2.2e13}, config={"steps": 60, "group": 8},
    )  # fmt: skip
    for folder, steps, reward in ((base, 2600, False), (sft, 900, False), (aligned, 120, True)):
        write_training(folder, steps, 8, reward=reward)
        write_model(folder)
    scores = write_stage(
        run, "scores", "evaluate", "results",
        {"models": ["base", "sft", "aligned"], "items": ["world"], "corpus": ["curated"]}, seconds=61.0,
    )  # fmt: skip
    items = {name: answers(i, name) for i, name in enumerate(("base", "sft", "aligned"))}
    documents = {
        name: texts(level, name) for name, level in {"base": 1.52, "sft": 1.55, "aligned": 1.56}.items()
    }
    for name in items:
        write_lines(scores / "items" / f"{name}.jsonl", items[name])
        write_lines(scores / "documents" / f"{name}.jsonl", documents[name])
    majority = [
        {
            **item,
            "answer": item["answer"],
            "correct": int(item["id"].split("-")[1]) < (34 if item["family"] in ("truth", "valid") else 9),
        }
        for item in items["base"]
    ]
    pairs = [("sft", "base"), ("aligned", "sft"), ("aligned", "base")]
    trained = ["arithmetic", "raises", "sequence", "truth", "type"]
    results = assemble(list(items), documents, items, majority, pairs, trained, seed=1)
    (scores / "results.json").write_text(json.dumps(results))
    (run / "recipe.yaml").write_text(
        yaml.safe_dump(
            {
                "seed": 1,
                "description": "Python's own library as corpus, teacher and judge.",
                "stages": {name: {"do": "…"} for name in ("corpus", "curated", "tokenizer", "tokens", "world", "base", "sft", "aligned", "scores")},
            },
            sort_keys=False, allow_unicode=True,
        )
    )  # fmt: skip
    (run / "run.json").write_text(json.dumps({"command": ["exnihilo", "run", "quickstart"], "seed": 1}))
    return run


def write_curation(folder: Path) -> None:
    removed = {
        "exact duplicate": 96,
        "too short": 71,
        "held-out near-duplicate of training text": 31,
        "lines too long": 15,
    }
    curation = {
        "read": 1720,
        "train": {"documents": 1507, "bytes": 10_243_914},
        "held_out": {"documents": 130, "bytes": 611_002},
        "removed": {reason: {"count": count, "examples": ["0a1b"]} for reason, count in removed.items()},
        "yardstick": {"xz_bits_per_byte": 1.69, "xz_primed_bits_per_byte": 1.38},
    }
    curation["read"] = 1507 + 130 + sum(removed.values())
    (folder / "curation.json").write_text(json.dumps(curation))
