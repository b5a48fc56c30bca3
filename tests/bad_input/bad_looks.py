"""Keys to explain, tokens to show and experiments to run that there are not."""

from __future__ import annotations

from bad_case import Case

COMPARE = "lab compare good.yaml"
CASES = [
    Case(
        "A misspelt key to explain",
        "explain pretrain.stpes",
        2,
        "error: pretrain.stpes: no such key; did you mean pretrain.steps?",
    ),
    Case(
        "Nothing to explain",
        "explain",
        2,
        "error: explain: which key? give one, such as pretrain.optimizer.lr, or a verb: …",
    ),
    Case(
        "A document that there is not",
        "tokens show runs/good/tokens --document 99",
        2,
        "error: --document: 99, and there are 17 documents in runs/good/tokens, split train; give 0 to 16",
    ),
    Case(
        "A split that there is not",
        "tokens show runs/good/tokens --split test",
        3,
        "error: runs/good/tokens has no split 'test', only held_out, train; give a corpus that has it, and "
        "make the tokens again",
    ),
    Case(
        "A folder without tokens",
        "tokens show texts",
        2,
        "error: --tokenizer: texts is no token set; give the folder of a model or tokenizer",
    ),
    Case(
        "A row and a document at once",
        "tokens show runs/good/tokens --row 1 --document 1",
        2,
        "error: --row and --document both say what to show; give one",
    ),
    Case(
        "An experiment in which nothing differs",
        COMPARE,
        2,
        "error: --vary is missing; say what differs between the arms, such as --vary "
        "base.optimizer.name=muon,adamw",
    ),
    Case(
        "An experiment with one value",
        f"{COMPARE} --vary base.steps=2",
        2,
        "error: --vary base.steps: only 2; give two values or more, base.steps=A,B",
    ),
    Case(
        "An experiment with a misspelt key",
        f"{COMPARE} --vary base.stpes=2,3",
        2,
        "error: --vary base.stpes: unknown key; did you mean --vary base.steps?",
    ),
    Case(
        "An experiment with an impossible value",
        f"{COMPARE} --vary base.steps=2,many",
        2,
        'error: --vary base.steps: got "many"; allowed: int ≥ 1 | null',
    ),
    Case(
        "An experiment without runs",
        f"{COMPARE} --vary base.optimizer.lr=0.1,0.2 --seeds 0",
        2,
        "error: --seeds: got 0; allowed: int ≥ 1 (3 or more tell something)",
    ),
    Case(
        "A study without seeds",
        "lab overoptimisation --seeds 0",
        2,
        "error: --seeds: got 0; allowed: int ≥ 1",
    ),
]
