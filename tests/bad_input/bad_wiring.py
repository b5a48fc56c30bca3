"""Stages that do not fit together, and references that lead nowhere."""

from __future__ import annotations

from pathlib import Path

from bad_case import Case
from bad_recipes import RUN, TEXTS, recipe

SPLIT = TEXTS + "  corpus: {do: curate, corpus: texts}\n"

CASES = [
    Case(
        "A reference to a stage that is not there",
        RUN,
        2,
        (
            "error: mine.yaml: corpus.corpus: txets: no stage of this recipe and no such path; did you mean "
            "texts?"
        ),
        recipe(TEXTS + "  corpus: {do: curate, corpus: txets}\n"),
    ),
    Case(
        "A reference to a stage of the wrong kind",
        RUN,
        2,
        (
            "error: mine.yaml: tokens.tokenizer: wants kind tokenizer, and texts is of kind corpus (do: "
            "collect); stages of kind tokenizer: none"
        ),
        recipe(SPLIT + "  tokens: {do: tokenize, corpus: corpus, tokenizer: texts}\n"),
    ),
    Case(
        "A flag that names a stage of the wrong kind",
        "run good.yaml --tokens.corpus tokenizer",
        2,
        (
            "error: --tokens.corpus: wants kind corpus, and tokenizer is of kind tokenizer (do: tokenizer); "
            "stages of kind corpus: texts, corpus"
        ),
    ),
    Case(
        "A flag that names a stage that is not there",
        "run good.yaml --scores.models bose",
        2,
        "error: --scores.models: bose: no stage of this recipe and no such path; did you mean base?",
        process=True,
    ),
    Case(
        "Stages that need each other",
        RUN,
        2,
        (
            "error: mine.yaml: stages need each other in a cycle: a -> b -> a; let one of them read "
            "something else"
        ),
        recipe("stages:\n  a: {do: curate, corpus: b}\n  b: {do: curate, corpus: a}\n"),
    ),
    Case(
        "A stage that needs itself",
        RUN,
        2,
        "error: mine.yaml: stages need each other in a cycle: a -> a; let one of them read something else",
        recipe("stages:\n  a: {do: curate, corpus: a}\n"),
    ),
    Case(
        "A model named twice",
        "evaluate --models runs/good/base,runs/good/base --corpus runs/good/corpus",
        2,
        "error: --models: base is named twice; name it once",
    ),
    Case(
        "A stage's name that is a path",
        RUN,
        2,
        (
            "error: mine.yaml: '../texts' cannot name a stage; allowed: a letter, then letters, digits, - "
            "and _ (it names a folder and a flag)"
        ),
        recipe("stages:\n  ../texts: {do: collect, from: {path: ./texts}}\n"),
    ),
    Case(
        "A word where `optional` goes",
        RUN,
        2,
        'error: mine.yaml: corpus.optional: got "maybe"; allowed: true | false',
        recipe(TEXTS + "  corpus: {do: curate, corpus: texts, optional: maybe}\n"),
    ),
    Case(
        "A stage that needs one that is left out",
        RUN,
        2,
        (
            "error: mine.yaml: tokenizer.corpus: mine is left out, as an input of it is not given; give it, "
            "or leave this out too"
        ),
        recipe(
            "stages:\n  mine: {do: curate, corpus: null, optional: true}\n  tokenizer: {do: tokenizer, corpus: mine}\n"
        ),
    ),
    Case(
        "A path that leads nowhere",
        RUN,
        2,
        "error: mine.yaml: corpus.corpus: none: no such path; give the path of an artifact of kind corpus",
        recipe("stages:\n  corpus: {do: curate, corpus: ./none}\n"),
    ),
    Case(
        "A whole run where an artifact goes",
        "tokenize --corpus runs/good --tokenizer runs/good/tokenizer",
        2,
        (
            "error: --corpus: runs/good is a whole run; name one of its artifacts of kind corpus: "
            "runs/good/corpus, runs/good/texts"
        ),
    ),
    Case(
        "An artifact of another kind",
        "tokenize --corpus runs/good/tokenizer --tokenizer runs/good/tokenizer",
        2,
        (
            "error: --corpus: wants kind corpus, and runs/good/tokenizer is of kind tokenizer; give the path "
            "of one of kind corpus"
        ),
    ),
    Case(
        "A config file that names an artifact of another kind",
        "tokenize -c tokenize.yaml",
        2,
        (
            "error: tokenize.yaml: corpus: wants kind corpus, and runs/good/base is of kind model; give the "
            "path of one of kind corpus"
        ),
        {"tokenize.yaml": "corpus: runs/good/base\ntokenizer: runs/good/tokenizer\n"},
    ),
    Case(
        "An artifact that is not finished",
        "pretrain --tokens runs/good/tokens.partial",
        2,
        "error: --tokens: runs/good/tokens.partial is not finished; run its stage again to continue it",
        make=lambda: Path("runs/good/tokens").rename("runs/good/tokens.partial"),
    ),
    Case(
        "A stage whose inputs are not made yet",
        "run good.yaml --run runs/new --only tokens",
        3,
        "error: tokens: needs corpus, which is not made yet; run without --only",
    ),
    Case(
        "A recipe whose model could not be built",
        RUN,
        2,
        "error: mine.yaml: base.model: heads (4) must be a multiple of kv_heads (3); try [1, 2, 4]",
        recipe(
            SPLIT
            + "  tokenizer: {do: tokenizer, corpus: corpus}\n"
            + "  tokens: {do: tokenize, corpus: corpus, tokenizer: tokenizer}\n"
            + "  base: {do: pretrain, tokens: tokens, model: {depth: 2, heads: 4, kv_heads: 3}}\n"
        ),
    ),
]
