"""Too little text, and too long rows and conversations."""

from __future__ import annotations

from bad_case import Case, rows

CASES = [
    Case(
        "Text too short to hold some of it out",
        "run mine.yaml",
        3,
        (
            "error: held_out 0.05: the only document has 7 bytes, too few to hold out its end; give more "
            "text, or held_out 0"
        ),
        {
            "mine.yaml": (
                "stages:\n  texts: {do: collect, from: {path: mine}}\n"
                "  corpus: {do: curate, corpus: texts, filters: {min_bytes: null}}\n"
            ),
            "mine/a.txt": "A line.",
        },
    ),
    Case(
        "Texts that the filters all reject",
        "curate --corpus runs/good/texts --filters.min_bytes 1M",
        3,
        (
            "error: no document is left; left out 20: too short (08be74b9f24ac93e, 11a29b25867cdacc, "
            "131cc4fc5e88d9c3, …); relax filters"
        ),
    ),
    Case(
        "A limit that no document keeps",
        "curate --corpus runs/good/texts --limit_bytes 10",
        3,
        "error: limit_bytes 10: the smallest of 19 documents has 352 bytes; raise it",
    ),
    Case(
        "A group that no document has",
        "curate --corpus runs/good/texts --group author",
        2,
        "error: group: no document has 'author' in its meta; allowed: path",
    ),
    Case(
        "A vocabulary larger than the text supports",
        "tokenizer train --corpus runs/good/corpus --vocabulary 5000",
        0,
        (
            "vocabulary 291, not 5000: no more pairs occur twice in the text; give more text or a smaller "
            "vocabulary"
        ),
    ),
    Case(
        "Rows longer than all of the text",
        "pretrain --tokens runs/good/tokens --length 4096 --rows 1 --steps 1 --model.depth 1 --model.width 16",
        0,
        "7120 parameters, depth 1, width 16; 4096 tokens in 1 steps; read tokens 1.42 times",
    ),
    Case(
        "Only conversations longer than the context",
        "sft --model runs/good/base --examples long.jsonl",
        3,
        (
            "error: long.jsonl: nothing to train on; left out: 1 too long (line 1); none fits 65 tokens: "
            "shorten them, raise length, or take a model of longer context"
        ),
        {
            "long.jsonl": rows(
                {
                    "messages": [
                        {"role": "user", "content": "Count."},
                        {"role": "assistant", "content": "1 2 3 4 5 6 7 8 9 " * 20},
                    ]
                }
            )
        },
    ),
    Case(
        "A question longer than the context",
        "chat model --prompt '" + "What? " * 80 + "'",
        2,
        (
            "error: the message has 484 tokens with the system prompt, and the model's context is 64; "
            "shorten it"
        ),
    ),
    Case(
        "Questions and answers longer than the rows of grpo",
        "grpo --model runs/good/base --examples questions --length 16 --max_new 32 --steps 1",
        3,
        (
            "error: a prompt of 8 tokens and an answer of 32 do not fit rows of 16; lower max_new, or raise "
            "length, up to the model's context"
        ),
    ),
]
