"""A comparison that is real and small: 24 documents, a model of 20,000 parameters, an evaluation."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from exnihilo.lab.arms import read_vary
from exnihilo.lab.question import Question, ask

WORDS = (
    "river stone window letter garden winter engine paper teacher kitchen mountain harbour question answer "
    "silver morning carries opens finds remembers builds paints answers follows small quiet bright heavy old "
    "slowly often never again behind under beside through with without and but the a her his their every"
)
RECIPE = """\
seed: 1
stages:
  texts: {do: collect, from: {path: ./texts}}
  corpus: {do: curate, corpus: texts, held_out: 0.25}
  tokenizer: {do: tokenizer, corpus: corpus, vocabulary: 300}
  tokens: {do: tokenize, corpus: corpus, tokenizer: tokenizer}
  base:
    do: pretrain
    tokens: tokens
    model: {depth: 1, width: 32, heads: 2, hidden: 64}
    steps: 60
    rows: 2
    length: 32
    validation_rows: 4
    validate_every: 20
    sample_prompts: []
    checkpoint_every: 4
  scores: {do: evaluate, models: [base], corpus: corpus}
"""


def write_recipe(folder: Path) -> Path:
    """`tiny.yaml` with its texts: 24 documents of a language with 48 words."""
    texts = folder / "texts"
    texts.mkdir(parents=True)
    for number in range(24):
        drawn = random.Random(number)
        sentences = [" ".join(drawn.choices(WORDS.split(), k=9)).capitalize() + "." for _ in range(20)]
        (texts / f"{number}.txt").write_text("\n".join(sentences), encoding="utf-8")
    file = folder / "tiny.yaml"
    file.write_text(RECIPE, encoding="utf-8")
    return file


def question(recipe: Path | str, *vary: str, **options: Any) -> Question:
    """What `exnihilo lab compare RECIPE --vary …` asks."""
    return ask(str(recipe), read_vary(vary), **options)
