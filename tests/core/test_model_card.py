"""The model card: front matter that the Hub reads, tables, and code that runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from exnihilo.core.model_card import card, front_matter, parameters_of, write_card
from exnihilo.model.config import DecoderConfig
from exnihilo.model.decoder import Decoder
from exnihilo.model.folder import save_model
from exnihilo.tokenizer.bpe import train_tokenizer


def source(name: str, licence: str, amount: int, generator: str = "", unit: str = "tokens") -> dict[str, Any]:
    return {"source": name, "licence": licence, "generator": generator, "amount": amount, "unit": unit}


def manifest(verb: str = "sft", **changes: Any) -> dict[str, Any]:
    whole = {
        "stage": "sft",
        "do": verb,
        "kind": "model",
        "config": {"steps": 900, "optimizer": {"name": "muon", "lr": 0.02}},
        "inputs": [
            {"field": "model", "name": "base", "path": "../base", "kind": "model", "content": "ab" * 32},
            {
                "field": "examples",
                "name": "world",
                "path": "../world",
                "kind": "examples",
                "content": "cd" * 32,
            },
        ],
        "seed": 7,
        "code": {"version": "0.1.0", "commit": None, "dirty": None},
        "machine": {"cpu": "Some CPU", "cores": 2, "memory_gib": 8.0},
        "seconds": 3600.0,
        "metrics": {"flops": 4.4e13},
        "provenance": [source("docs", "PSF-2.0", 300), source("world", "Apache-2.0", 100, "introspection")],
    }
    return {**whole, **changes}


def matter(text: str) -> dict[str, Any]:
    found = re.match(r"---\n(.*?)\n---\n", text + "\n", re.DOTALL)
    assert found
    fields: dict[str, Any] = yaml.safe_load(found[1])
    return fields


def test_the_front_matter_is_what_the_hub_reads() -> None:
    fields = matter(front_matter(manifest()))
    assert fields == {
        "license": "other",
        "license_name": "apache-2.0-and-psf-2.0",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["exnihilo", "sft"],
    }


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (["CC0-1.0", "CC0-1.0"], {"license": "cc0-1.0"}),
        ([""], {"license": "unknown"}),
        ([], {"license": "unknown"}),
        (["My: own\nlicence"], {"license": "other", "license_name": "my-own-licence"}),
    ],
)
def test_licences_become_identifiers_of_the_hub(licences: list[str], expected: dict[str, str]) -> None:
    provenance = [source(f"s{i}", licence, 1) for i, licence in enumerate(licences)]
    fields = matter(front_matter(manifest(provenance=provenance)))
    assert {key: fields[key] for key in fields if key.startswith("license")} == expected


def test_languages_stand_in_the_front_matter_where_the_provenance_names_them() -> None:
    provenance = [{**source("a", "MIT", 1), "language": "zh"}, {**source("b", "MIT", 1), "language": "en"}]
    assert matter(front_matter(manifest(provenance=provenance)))["language"] == ["en", "zh"]


def test_the_card_tells_data_cost_and_lineage(tmp_path: Path) -> None:
    text = card(manifest(), tmp_path)
    assert "| docs | PSF-2.0 | people | 300 tokens | 75.0% |" in text
    assert "| world | Apache-2.0 | introspection | 100 tokens | 25.0% |" in text
    assert "| `optimizer.lr` | 0.02 |" in text
    assert "from the model `base`" in text and f"content `{'ab' * 6}`" in text and "seed: 7" in text
    # 1.58 × 1 h × (2 × 12 W + 8 GiB × 0.3725 W).
    assert f"= {1.58 * (24 + 8 * 0.3725) / 1000:.4g} kWh" in text and "kg CO2e" in text
    assert "Not evaluated yet." in text


def test_scores_come_with_interval_and_n(tmp_path: Path) -> None:
    scores = {"accuracy": {"value": 0.71943, "low": 0.687, "high": 0.751, "n": 1630}}
    assert "| accuracy | 0.7194 | 0.687 to 0.751 | 1,630 |" in card(manifest(), tmp_path, scores)


def test_a_cell_stays_in_its_cell(tmp_path: Path) -> None:
    text = card(manifest(provenance=[source("a|b\n<script>", "MIT", 1)]), tmp_path)
    (row,) = [line for line in text.splitlines() if "script" in line]
    assert row == "| a\\|b &lt;script> | MIT | people | 1 tokens | 100.0% |"


@pytest.mark.parametrize("verb", ["pretrain", "sft"])
def test_the_code_in_the_card_runs_offline_from_the_folder(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = train_tokenizer(["Once upon a time. What can you tell me?\n"] * 4, 280)
    tokenizer.save(tmp_path / "tokenizer")
    torch.manual_seed(0)
    shape = DecoderConfig(
        vocab_size=tokenizer.vocab_size,
        width=16,
        depth=1,
        heads=2,
        kv_heads=1,
        head_dim=8,
        hidden=16,
        max_length=256,
    )
    model, folder = Decoder(shape), tmp_path / "model"
    with torch.no_grad():
        # Fresh weights would only ever say special tokens, which are not printed.
        model.embedding.weight[len(tokenizer.special) :].normal_()
    save_model(model, tmp_path / "tokenizer", folder)
    write_card(folder, manifest(verb))
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert parameters_of(folder) == shape.parameters == sum(p.numel() for p in model.parameters())
    assert f"{shape.parameters:,} parameters, 1 layer of width 16" in text
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert code
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    exec(compile(code[1], "README.md", "exec"), {})
    said = capsys.readouterr().out
    assert said.strip() and (said.startswith("Once") or verb == "sft")
