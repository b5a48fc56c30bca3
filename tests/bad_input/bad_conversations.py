"""Files of conversations that cannot be trained on."""

from __future__ import annotations

import gzip

from bad_case import Case, rows, said

GOOD = rows(said("1+1?", "2"), said("2+1?", "3"))
TASK = "{name: x, cluster: y, templates: [{input: '{a}', target: '{b}'}], examples: [{a: 1}, {a: 2}]}"
SFT = "sft --model runs/good/base --examples mine.jsonl --steps 1"


def mine(content: str | bytes) -> dict[str, str | bytes]:
    return {"mine.jsonl": content}


CASES = [
    Case(
        "A file that is not there",
        SFT,
        2,
        "error: --examples: mine.jsonl: no such path; give the path of an artifact of kind examples or "
        "a file of conversations",
        process=True,
    ),
    Case(
        "An empty file of conversations",
        SFT,
        3,
        "error: mine.jsonl: no rows; give a file with one JSON object a line",
        mine(""),
    ),
    Case(
        "A binary file of conversations",
        SFT,
        3,
        "error: mine.jsonl: a binary file (byte 8 is 0x00); give JSON Lines",
        mine(b"\x89PNG\r\n\x1a\n\0\0"),
    ),
    Case(
        "Conversations in UTF-16",
        SFT,
        3,
        "error: mine.jsonl: UTF-16 text; save it as UTF-8",
        mine(GOOD.encode("utf-16")),
    ),
    Case(
        "Conversations in Latin-1",
        SFT,
        3,
        (
            "error: mine.jsonl: no row is a JSON object (line 1: not UTF-8 (byte 44 of the line)); rows need "
            "messages, conversations (from, value), instruction and output, or prompt and completion"
        ),
        mine(rows(said("Où?", "Là.")).encode("latin-1")),
    ),
    Case(
        "A packed file of conversations that is cut off",
        SFT,
        3,
        "error: mine.jsonl: not a whole gzip file (…); fetch it again",
        mine(gzip.compress((GOOD * 99).encode(), mtime=0)[:-9]),
    ),
    Case(
        "A packed file of conversations with changed bytes",
        SFT,
        3,
        "error: mine.jsonl: not a whole gzip file (…); fetch it again",
        mine(b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"no gzip at all" * 9),
    ),
    Case(
        "A Parquet file of conversations",
        SFT,
        3,
        "error: mine.jsonl: a Parquet file; give JSON Lines",
        mine(b"PAR1\0\0\0\0PAR1"),
    ),
    Case(
        "A folder without conversations",
        "sft --model runs/good/base --examples texts",
        3,
        "error: texts: no train.jsonl there; give a folder of examples or a file of conversations",
    ),
    Case(
        "A weight for a source that no conversation is from",
        f"{SFT} --weights.manners 2",
        3,
        "error: mine.jsonl: weights: no conversation is from 'manners'; family or source there: (none)",
        mine(GOOD),
    ),
    Case(
        "A section of tasks for a file of conversations",
        "conversations --examples mine.jsonl --tasks.cap 9",
        3,
        "error: mine.jsonl: holds conversations, and no tasks with templates; leave the section tasks out",
        mine(GOOD),
    ),
    Case(
        "A template that names a field which no row has",
        "conversations --examples mine.yaml",
        3,
        "error: mine.yaml: no example can be used: no field b, which a template names (row 1); mend the examples, "
        "or use other templates",
        {"mine.yaml": TASK},
    ),
    Case(
        "A template with an attribute in braces",
        "conversations --examples mine.yaml",
        2,
        "error: mine.yaml: templates[0]: {a.b} is no field; write {name}, or {{ and }} for braces",
        {"mine.yaml": TASK.replace("{b}", "{a.b}")},
    ),
    Case(
        "An evaluation set that asks nothing",
        "data check mine.jsonl --against other.jsonl",
        3,
        "error: other.jsonl: no row asks anything; rows need messages, question, prompt, instruction, input or text",
        mine(GOOD) | {"other.jsonl": rows({"id": 1})},
    ),
    Case(
        "A misspelt format",
        f"{SFT} --format sharegtp",
        2,
        "error: format: 'sharegtp' is not known; did you mean sharegpt?",
        mine(GOOD),
    ),
    Case(
        "Rows of an unknown layout",
        SFT,
        3,
        (
            "error: mine.jsonl: fields input, target are of no known layout; rows need messages, "
            "conversations (from, value), instruction and output, or prompt and completion"
        ),
        mine(rows({"input": "1+1?", "target": "2"})),
    ),
    Case(
        "Rows of two layouts",
        SFT,
        3,
        (
            "error: mine.jsonl: rows of more than one layout: messages (line 1), alpaca (line 3); part them, "
            "or name one with format"
        ),
        mine(GOOD + rows({"instruction": "1+1?", "output": "2"})),
    ),
    Case(
        "Preferences instead of conversations",
        SFT,
        3,
        (
            "error: mine.jsonl: preferences (chosen and rejected answers, or a label): they train a reward "
            "model or DPO; conversations need messages, conversations (from, value), instruction and output, "
            "or prompt and completion"
        ),
        mine(rows({"prompt": "1+1?", "chosen": "2", "rejected": "3"})),
    ),
    Case(
        "Prompts instead of conversations",
        SFT,
        3,
        (
            "error: mine.jsonl: prompts without answers: they are for reinforcement learning and evaluation; "
            "conversations need messages, conversations (from, value), instruction and output, or prompt and "
            "completion"
        ),
        mine(rows({"prompt": "1+1?"})),
    ),
    Case(
        "Plain text instead of conversations",
        SFT,
        3,
        (
            "error: mine.jsonl: plain text: it is for collect and pretrain; conversations need messages, "
            "conversations (from, value), instruction and output, or prompt and completion"
        ),
        mine(rows({"text": "1+1 is 2."})),
    ),
    Case(
        "One row of text in lines of JSON",
        SFT,
        3,
        (
            "error: mine.jsonl: no row is a JSON object (line 1: not JSON (Expecting value, column 1)); rows "
            "need messages, conversations (from, value), instruction and output, or prompt and completion"
        ),
        mine("What is 1+1? It is 2.\n"),
    ),
]
