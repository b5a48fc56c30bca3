"""Artifacts that were altered since they were made, and folders that are none."""

from __future__ import annotations

import shutil
from pathlib import Path

from bad_case import Case, cut, edit, flip

PRETRAIN = "pretrain --tokens runs/good/tokens --steps 1 --model.depth 1"


def other_columns() -> None:
    """Parquet files that are no corpus."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    Path("mine/train").mkdir(parents=True)
    pq.write_table(pa.table({"text": ["A line."]}), "mine/train/00000.parquet")


CASES = [
    Case(
        "A folder of Parquet files that are no corpus",
        "tokenize --corpus mine --tokenizer runs/good/tokenizer",
        3,
        "error: mine/train/00000.parquet: no column 'generator'; this is not a shard of a corpus; collect the "
        "text first",
        make=other_columns,
    ),
    Case(
        "A shard of a corpus that is cut off",
        "tokenize --corpus runs/good/corpus --tokenizer runs/good/tokenizer",
        3,
        (
            "error: runs/good/corpus/train/00000.parquet: altered since it was made (… bytes, not …); make "
            "the artifact again"
        ),
        make=lambda: cut("runs/good/corpus/train/00000.parquet"),
    ),
    Case(
        "A shard of a corpus with one bit changed",
        "tokenize --corpus runs/good/corpus --tokenizer runs/good/tokenizer",
        3,
        "error: runs/good/corpus/train/00000.parquet: altered since it was made; make the artifact again",
        make=lambda: flip("runs/good/corpus/train/00000.parquet"),
    ),
    Case(
        "A shard of tokens that is cut off",
        PRETRAIN,
        3,
        (
            "error: runs/good/tokens/train/00000.tok: altered since it was made (… bytes, not …); make the "
            "artifact again"
        ),
        make=lambda: cut("runs/good/tokens/train/00000.tok", -2),
    ),
    Case(
        "A shard of tokens with one bit changed",
        PRETRAIN,
        3,
        "error: runs/good/tokens/train/00000.tok: altered since it was made; make the artifact again",
        make=lambda: flip("runs/good/tokens/train/00000.tok"),
    ),
    Case(
        "A shard of tokens that is gone",
        PRETRAIN,
        3,
        "error: runs/good/tokens/train/00000.len: missing from its artifact; make it again",
        make=lambda: Path("runs/good/tokens/train/00000.len").unlink(),
    ),
    Case(
        "Tokens without a manifest whose index is cut off",
        "pretrain --tokens mine --steps 1",
        3,
        "error: mine/tokens.json is not valid JSON (…); make the tokens again",
        make=lambda: (
            shutil.copytree("runs/good/tokens", "mine"),
            Path("mine/manifest.json").unlink(),
            cut("mine/tokens.json"),
        ),
    ),
    Case(
        "Tokens without a manifest whose index lacks a key",
        "pretrain --tokens mine --steps 1",
        3,
        "error: mine/tokens.json has no splits; make the tokens again",
        make=lambda: (
            shutil.copytree("runs/good/tokens", "mine"),
            Path("mine/manifest.json").unlink(),
            edit("mine/tokens.json", splits=None),
        ),
    ),
    Case(
        "Weights of a run with one bit changed, to train",
        "sft --model runs/good/base --examples chats.jsonl --steps 1",
        3,
        "error: runs/good/base/model.safetensors: altered since it was made; make the artifact again",
        make=lambda: flip("runs/good/base/model.safetensors"),
    ),
    Case(
        "Weights of a run with one bit changed, to chat",
        "chat runs/good --prompt 1+1?",
        3,
        "error: runs/good/base/model.safetensors: altered since it was made; make the artifact again",
        make=lambda: flip("runs/good/base/model.safetensors"),
    ),
    Case(
        "A file too many in an artifact",
        "tokenize --corpus runs/good/corpus --tokenizer runs/good/tokenizer",
        3,
        "error: runs/good/corpus/train/00001.parquet: not part of its artifact; remove it",
        make=lambda: shutil.copy(
            "runs/good/texts/train/00000.parquet", "runs/good/corpus/train/00001.parquet"
        ),
    ),
    Case(
        "A stage of a run that was altered",
        "run good.yaml",
        3,
        (
            "error: runs/good/base/config.json: altered since it was made (… bytes, not …); make the "
            "artifact again (--force makes it again and keeps what is there in .replaced)"
        ),
        make=lambda: cut("runs/good/base/config.json"),
    ),
    Case(
        "A manifest that is cut off",
        "run good.yaml",
        3,
        (
            "error: runs/good/tokenizer/manifest.json: broken (…); make the artifact again (--force makes it "
            "again and keeps what is there in .replaced)"
        ),
        make=lambda: cut("runs/good/tokenizer/manifest.json"),
    ),
    Case(
        "A manifest that is not UTF-8",
        "lineage runs/good/base",
        3,
        "error: runs/good/base/manifest.json: broken (…); make the artifact again",
        {"runs/good/base/manifest.json": b"\xff\xfe"},
    ),
    Case(
        "A manifest of another program",
        "lineage runs/good/base",
        3,
        "error: runs/good/base/manifest.json: not a manifest of exnihilo; make the artifact again",
        {"runs/good/base/manifest.json": "{}"},
    ),
    Case(
        "A manifest of a later version",
        "lineage runs/good/base",
        3,
        "error: runs/good/base/manifest.json: schema 9, not 1; use the version that made it",
        make=lambda: edit("runs/good/base/manifest.json", schema=9),
    ),
    Case(
        "Results that are cut off",
        "report runs/good",
        3,
        "error: runs/good/scores/results.json: not JSON (…); make the stage again",
        make=lambda: cut("runs/good/scores/results.json"),
    ),
    Case(
        "Metrics that are cut off",
        "report runs/good",
        3,
        "error: runs/good/base/metrics.jsonl:…: not JSON (…); mend the line",
        make=lambda: cut("runs/good/base/metrics.jsonl"),
    ),
    Case(
        "A checkpoint to resume from that is none",
        "pretrain --tokens runs/good/tokens --steps 1 --model.depth 1 --resume texts",
        3,
        "error: texts: no state.json there, so this is no checkpoint; give the path of one",
    ),
]
