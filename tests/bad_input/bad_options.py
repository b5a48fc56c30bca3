"""Words of the command line that are unknown, misspelt, of the wrong type, missing or too many."""

from __future__ import annotations

from bad_case import Case

MODEL = "--tokens runs/good/tokens"
CASES = [
    Case(
        "A misspelt command",
        "pretian --steps 5",
        2,
        'error: Unknown command "pretian". Did you mean "pretrain"? …',
    ),
    Case(
        "A misspelt command inside a group",
        "data chekc chats.jsonl",
        2,
        'error: Unknown command "chekc". Did you mean "check"? …',
        process=True,
    ),
    Case(
        "A misspelt option",
        "pretrain --sead 3",
        2,
        "error: --sead: unknown option; did you mean --seed?",
    ),
    Case(
        "A misspelt key as a flag",
        "pretrain --tokens runs/good/tokens --stpes 5",
        2,
        "error: --stpes: unknown key; did you mean --steps?",
    ),
    Case(
        "A misspelt nested key as a flag",
        "pretrain --tokens runs/good/tokens --optimizer.learning_rate 0.1 --optimizer.momentun 0.9",
        2,
        (
            "error: --optimizer.learning_rate: unknown key; allowed: name, lr, lr_embedding, weight_decay, "
            "betas, eps, momentum, nesterov, ns_steps\n"
            "error: --optimizer.momentun: unknown key; did you mean --optimizer.momentum?"
        ),
    ),
    Case(
        "A key without its section",
        "pretrain --tokens runs/good/tokens --depth 2",
        2,
        "error: --depth: unknown key; did you mean --model.depth?",
    ),
    Case(
        "A key that another stage has",
        "curate --corpus runs/good/texts --epochs 2",
        2,
        (
            "error: --epochs: unknown key; allowed: filters, gopher_repetition, gopher_quality, c4, fineweb, "
            "corpus, held_out, group, near_duplicate, limit_bytes, held_out_bytes, held_out_documents, "
            "yardstick, workers"
        ),
    ),
    Case(
        "A flag of no stage of the recipe",
        "run good.yaml --bsae.steps 5",
        2,
        "error: --bsae: no option, and no stage of good.yaml; did you mean --base?",
    ),
    Case(
        "A flag of a stage without its key",
        "run good.yaml --base 5",
        2,
        "error: --base: a stage; options are written --base.key value",
    ),
    Case(
        "A key of a recipe's stage misspelt as a flag",
        "run good.yaml --base.stpes 5",
        2,
        "error: --base.stpes: unknown key; did you mean --base.steps?",
        process=True,
    ),
    Case(
        "A misspelt key in the environment",
        "run good.yaml",
        2,
        "error: EXNIHILO_BASE__STPES: base.stpes: unknown key; did you mean base.steps?",
        environ={"EXNIHILO_BASE__STPES": "5"},
    ),
    Case(
        "A flag without a value",
        "pretrain --tokens runs/good/tokens --steps",
        2,
        "error: --steps: a value is missing; allowed: int ≥ 1 | null",
    ),
    Case(
        "A flag given twice",
        "pretrain --tokens runs/good/tokens --steps 5 --steps 6",
        2,
        "error: --steps: given 2 times; give it once",
    ),
    Case(
        "A key given a value and a key inside it",
        "pretrain --tokens runs/good/tokens --model 3M --model.depth 2",
        2,
        "error: --model.depth: model was given a value and a key inside it; give one of them",
    ),
    Case(
        "A word that is no option",
        "pretrain runs/good/tokens",
        2,
        "error: unexpected argument 'runs/good/tokens': options are written --key value",
    ),
    Case(
        "A required key left out",
        "tokenize --corpus runs/good/corpus",
        2,
        "error: --tokenizer: required; allowed: tokenizer (a stage or a path)",
    ),
    Case(
        "No recipe named",
        "run",
        2,
        'error: Command "run" parameter RECIPE requires an argument; see exnihilo run --help',
    ),
    Case(
        "Options before the recipe",
        "run --base.steps 5 good.yaml",
        2,
        "error: --base.steps: the recipe comes first: exnihilo run RECIPE --base.steps …",
    ),
    Case(
        "A way to resume that there is not",
        "run good.yaml --resume maybe",
        2,
        'error: Invalid value "maybe" for --resume. Choose from: "auto", "never", "must".',
    ),
    Case(
        "A stage that the recipe has not",
        "run good.yaml --only bsae",
        2,
        "error: --only: bsae: no stage of good; did you mean base?",
    ),
    Case(
        "An option of the page without the page",
        "chat runs/good/base --port 8000",
        2,
        "error: --port is for the page; add --web",
    ),
    Case(
        "An option of the terminal with the page",
        "chat runs/good/base --web --temperature 1",
        2,
        "error: --temperature is set on the page; leave it out with --web",
    ),
]
