"""Recipes and config files that cannot be read, or say what cannot be."""

from __future__ import annotations

from pathlib import Path

from bad_case import Case

TEXTS = "stages:\n  texts: {do: collect, from: {path: ./texts}}\n"


def recipe(text: str | bytes) -> dict[str, str | bytes]:
    return {"mine.yaml": text}


RUN = "run mine.yaml"
CASES = [
    Case(
        "An unknown key at the top",
        RUN,
        2,
        "error: mine.yaml: sed: unknown key; did you mean seed?",
        recipe("sed: 3\n" + TEXTS),
    ),
    Case(
        "A misspelt key of a stage",
        RUN,
        2,
        "error: mine.yaml: texts.form: unknown key; did you mean texts.from?",
        recipe("stages:\n  texts: {do: collect, form: {path: ./texts}}\n"),
    ),
    Case(
        "A misspelt nested key",
        RUN,
        2,
        "error: mine.yaml: texts.from.paht: unknown key; did you mean texts.from.path?",
        recipe("stages:\n  texts: {do: collect, from: {paht: ./texts}}\n"),
    ),
    Case(
        "Several mistakes at once",
        RUN,
        2,
        (
            "error: mine.yaml: other.do: unknown verb 'curat'; did you mean curate?\n"
            'error: mine.yaml: corpus.filters.min_bytes: got "few"; allowed: count such as 8M ≥ 0 | null\n'
            "error: mine.yaml: corpus.held_uot: unknown key; did you mean corpus.held_out?"
        ),
        recipe(
            TEXTS
            + "  corpus: {do: curate, corpus: texts, held_uot: 0.1, filters: {min_bytes: few}}\n  other: {do: curat}\n"
        ),
    ),
    Case(
        "A misspelt verb",
        RUN,
        2,
        "error: mine.yaml: texts.do: unknown verb 'colect'; did you mean collect?",
        recipe("stages:\n  texts: {do: colect, from: {path: ./texts}}\n"),
    ),
    Case(
        "A stage without a verb",
        RUN,
        2,
        ("error: mine.yaml: texts.do: required; allowed: collect, curate, tokenizer, tokenize, …"),
        recipe("stages:\n  texts: {from: {path: ./texts}}\n"),
    ),
    Case(
        "A stage that is a word",
        RUN,
        2,
        'error: mine.yaml: texts: got "collect"; allowed: a mapping with do: VERB',
        recipe("stages: {texts: collect}\n"),
    ),
    Case(
        "A recipe without stages",
        RUN,
        2,
        "error: mine.yaml: stages: required; allowed: a mapping with NAME: {do: VERB, …}",
        recipe("seed: 1\n"),
    ),
    Case(
        "A recipe with an empty list of stages",
        RUN,
        2,
        "error: mine.yaml: stages: got {}; allowed: a mapping with NAME: {do: VERB, …}",
        recipe("stages: {}\n"),
    ),
    Case(
        "An empty recipe",
        RUN,
        2,
        "error: mine.yaml: stages: required; allowed: a mapping with NAME: {do: VERB, …}",
        recipe(""),
    ),
    Case(
        "A list where a recipe goes",
        RUN,
        2,
        "error: mine.yaml: a mapping of keys is wanted, not a list; write KEY: VALUE",
        recipe("- do: collect\n"),
    ),
    Case(
        "A stage given twice",
        RUN,
        2,
        "error: mine.yaml:3: the key 'texts' is given twice; keep one",
        recipe(TEXTS + "  texts: {do: collect, from: {python: true}}\n"),
    ),
    Case(
        "A key given twice",
        RUN,
        2,
        "error: mine.yaml:5: the key 'from' is given twice; keep one",
        recipe("stages:\n  texts:\n    do: collect\n    from: {path: a}\n    from: {path: b}\n"),
    ),
    Case(
        "A tab as indentation",
        RUN,
        2,
        (
            "error: mine.yaml:2: found character '\\t' that cannot start any token; indent with spaces, not "
            "with tabs"
        ),
        recipe("stages:\n\ttexts: {do: collect}\n"),
        process=True,
    ),
    Case(
        "A bracket that is not closed",
        RUN,
        2,
        "error: mine.yaml:3: expected the node content, but found '<stream end>'; mend the YAML there",
        recipe("stages:\n  texts: {do: collect, from: [\n"),
    ),
    Case(
        "A bare `no` where text goes",
        RUN,
        2,
        (
            "error: mine.yaml: texts.from.licence: got false; allowed: text | null (YAML reads a bare yes, "
            "no, on or off as true or false: quote it)"
        ),
        recipe("stages:\n  texts: {do: collect, from: {path: ./texts, licence: no}}\n"),
    ),
    Case(
        "A bare number where text goes",
        RUN,
        2,
        "error: mine.yaml: texts.from.source: got 5; allowed: text | null (quote it: it is text here)",
        recipe("stages:\n  texts: {do: collect, from: {path: ./texts, source: 5}}\n"),
    ),
    Case(
        "A bare `yes` as a name",
        RUN,
        2,
        (
            "error: mine.yaml:2: the key True is not text (a bare yes, no, on or off is true or false); "
            "quote it"
        ),
        recipe("stages:\n  yes: {do: collect, from: {path: ./texts}}\n"),
    ),
    Case(
        "A date where a number goes",
        RUN,
        2,
        'error: mine.yaml: corpus.held_out: got "2024-01-01"; allowed: float ≥ 0 < 1',
        recipe(TEXTS + "  corpus: {do: curate, corpus: texts, held_out: 2024-01-01}\n"),
    ),
    Case(
        "A number with too many digits",
        RUN,
        2,
        "error: mine.yaml:1: a number of 5000 digits; quote it if it is text",
        recipe("seed: " + "1" * 5000 + "\n" + TEXTS),
    ),
    Case(
        "Brackets nested too deeply",
        RUN,
        2,
        "error: mine.yaml: not YAML (brackets nested too deeply); mend it",
        recipe("stages: " + "[" * 3000),
    ),
    Case(
        "A recipe in UTF-16",
        RUN,
        2,
        "error: mine.yaml: not UTF-8 text (byte 0); save it as UTF-8",
        recipe(TEXTS.encode("utf-16")),
    ),
    Case(
        "A recipe in Latin-1",
        RUN,
        2,
        "error: mine.yaml: not UTF-8 text (byte 16); save it as UTF-8",
        recipe("description: café\n".encode("latin-1") + TEXTS.encode()),
    ),
    Case(
        "A recipe with a NUL byte",
        RUN,
        2,
        "error: mine.yaml: not YAML (special characters are not allowed); save it as plain text in UTF-8",
        recipe(TEXTS.encode() + b"\0"),
    ),
    Case(
        "A folder where a YAML file goes",
        "pretrain -c texts",
        2,
        "error: texts: Is a directory; give the path of a YAML file",
    ),
    Case(
        "A config file that is not there",
        "pretrain -c none.yaml",
        2,
        "error: none.yaml: No such file or directory; give the path of a YAML file",
    ),
    Case(
        "A config file that is a broken link",
        "pretrain -c link.yaml",
        2,
        "error: link.yaml: No such file or directory; give the path of a YAML file",
        make=lambda: Path("link.yaml").symlink_to("gone.yaml"),
    ),
]
