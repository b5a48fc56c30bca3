"""Questions with verifiers that cannot be asked or checked."""

from __future__ import annotations

from pathlib import Path

from bad_case import Case, rows, said
from good_world import question as good_question


def prompts(*changed: object, name: str = "prompts") -> dict[str, str | bytes]:
    return {f"questions/{name}.jsonl": rows(*changed)}


def without(name: str) -> None:
    Path(f"questions/{name}.jsonl").unlink()


GRPO = "grpo --model runs/good/base --examples questions --steps 1"
EVALUATE = "evaluate --models runs/good/base --items questions"


def question(**changes: object) -> dict[str, object]:
    return good_question(1, **changes)


CASES = [
    Case(
        "No questions to align on",
        GRPO,
        3,
        (
            "error: questions/prompts.jsonl: not found; give a folder of examples with questions to sample "
            "answers to"
        ),
        make=lambda: without("prompts"),
    ),
    Case(
        "An empty file of questions",
        GRPO,
        3,
        "error: questions/prompts.jsonl: no prompts to sample answers to; give one JSON object a line",
        {"questions/prompts.jsonl": ""},
    ),
    Case(
        "A question without a verifier",
        GRPO,
        3,
        (
            "error: questions/prompts.jsonl:2: not a question with a verifier: no verifier; mend or remove "
            "the row"
        ),
        prompts(question(), question(verifier=None)),
    ),
    Case(
        "A verifier of an unknown kind",
        GRPO,
        3,
        (
            "error: questions/prompts.jsonl:1: not a question with a verifier: no verifier of kind 'regexp'; "
            "there are code, words, unknown, exact, number, regex, tests, prints, schema, constraints, open; mend or "
            "remove the row"
        ),
        prompts(question(verifier={"kind": "regexp", "value": "2"})),
    ),
    Case(
        "A verifier without a value",
        GRPO,
        3,
        (
            "error: questions/prompts.jsonl:1: not a question with a verifier: a verifier of kind code needs "
            "a text as value; mend or remove the row"
        ),
        prompts(question(verifier={"kind": "code"})),
    ),
    Case(
        "A question without a family",
        GRPO,
        3,
        (
            "error: questions/prompts.jsonl:1: not a question with a verifier: no family; mend or remove the "
            "row"
        ),
        prompts(question(family=None)),
    ),
    Case(
        "A question without messages",
        GRPO,
        3,
        (
            "error: questions/prompts.jsonl:1: not a question with a verifier: messages is not a list of "
            '{"role": …, "content": …}; mend or remove the row'
        ),
        prompts(question(messages=[])),
    ),
    Case(
        "A question whose messages are a text",
        GRPO,
        3,
        (
            "error: questions/prompts.jsonl:1: not a question with a verifier: messages is not a list of "
            '{"role": …, "content": …}; mend or remove the row'
        ),
        prompts(question(messages="1+1?")),
    ),
    Case(
        "A row of questions that is no JSON",
        GRPO,
        3,
        "error: questions/prompts.jsonl:1: not JSON (…, column 1); mend the line",
        {"questions/prompts.jsonl": "{\n"},
    ),
    Case(
        "A family that has no questions",
        f"{GRPO} --families sums",
        2,
        "error: families: no prompts of ['sums'] in questions/prompts.jsonl; there are sum",
    ),
    Case(
        "Nothing to anchor to",
        f"{GRPO} --length 64 --max_new 16 --anchor 1",
        3,
        "error: questions: no demonstrations of other families to anchor to; set anchor to 0",
        {"questions/train.jsonl": rows({**said("1+1?", "2"), "meta": {"family": "sum"}})},
    ),
    Case(
        "A weight for a reward that nobody gives",
        f"{GRPO} --length 64 --max_new 16 --rewards.weights.corect 2 --rewards.gates.correct 1",
        2,
        "error: rewards.weights.corect: no such source of rewards; there are correct",
    ),
    Case(
        "Safety first, and nobody who judges it",
        f"{GRPO} --length 64 --max_new 16 --rewards.rule safety-first",
        2,
        (
            "error: rewards.rule: safety-first wants a reward model with the aspect safety, and another source; there "
            "are correct; name them with reward"
        ),
    ),
    Case(
        "A program that rewards nothing",
        f"{GRPO} --length 64 --max_new 16 --rewards.program grade.py",
        3,
        "error: grade.py: no function grade(item, answer) in it; define one",
        {"grade.py": "def reward(item, answer):\n    return 1\n"},
    ),
    Case(
        "A program that rewards, and is no Python",
        f"{GRPO} --length 64 --max_new 16 --rewards.program grade.py",
        3,
        "error: grade.py: SyntaxError: …; mend it",
        {"grade.py": "def grade(item, answer)\n"},
    ),
    Case(
        "A cap that takes away what agrees",
        f"{GRPO} --importance_cap 0.5",
        2,
        "error: --importance_cap: got 0.5; allowed: float ≥ 1",
    ),
    Case(
        "A tool that there is not",
        f"{GRPO} --tools.names search",
        2,
        'error: --tools.names[0]: got "search"; allowed: calculator | python',
    ),
    Case(
        "A server whose weights grow older than they may",
        f"{GRPO.removesuffix('1')}4 --server.url http://127.0.0.1:1/v1 --server.model m",
        2,
        (
            "error: staleness: a server's weights are 3 steps old at the last of 4 steps; give at least that, or fewer "
            "steps, and serve what they made for the next"
        ),
    ),
    Case(
        "Tools and a server",
        f"{GRPO} --tools.names python --server.url http://127.0.0.1:1/v1 --server.model m",
        2,
        "error: server: it would encode what a tool said anew; tools need answers sampled here",
    ),
    Case(
        "Two judges",
        f"{GRPO} --judge runs/good/base --rewards.endpoint.url http://127.0.0.1:1/v1 --rewards.endpoint.model m",
        2,
        "error: judge and rewards.endpoint both grade answers; give one",
    ),
    Case(
        "An aspect that no preference is of",
        "reward --model runs/good/base --examples pairs.jsonl --aspects safety",
        3,
        "error: pairs.jsonl: no preferences to train on; left out: 1 aspect 'harm' (line 1); mend or add some",
        {"pairs.jsonl": rows({"prompt": "1+1?", "chosen": "2", "rejected": "3", "aspect": "harm"})},
    ),
    Case(
        "No questions to evaluate on",
        EVALUATE,
        3,
        (
            "error: questions/held_out.jsonl: not found; evaluation needs held-out items (or leave out "
            "'items')"
        ),
        make=lambda: without("held_out"),
    ),
    Case(
        "An empty file of evaluation items",
        EVALUATE,
        3,
        (
            "error: questions/held_out.jsonl: holds no items; give one JSON object a line (or leave out "
            "'items')"
        ),
        {"questions/held_out.jsonl": "\n"},
    ),
    Case(
        "An item without an answer",
        EVALUATE,
        3,
        "error: questions/held_out.jsonl:1: not an evaluation item: no answer; mend or remove the row",
        prompts(question(answer=None), name="held_out"),
    ),
    Case(
        "An item whose verifier is a text",
        EVALUATE,
        3,
        (
            'error: questions/held_out.jsonl:1: not an evaluation item: verifier is not {"kind": …, "value": '
            "…}; mend or remove the row"
        ),
        prompts(question(verifier="2"), name="held_out"),
    ),
    Case(
        "Two items of one name",
        EVALUATE,
        3,
        (
            "error: questions/held_out.jsonl:2: item id 'sum-1' is already used in line 1; give each item "
            "its own"
        ),
        prompts(question(), question(), name="held_out"),
    ),
    Case(
        "A family that no item has",
        f"{EVALUATE} --trained sums",
        2,
        "error: trained: no item is of family 'sums'; the families are sum",
    ),
    Case(
        "A corpus without held-out text",
        "evaluate --models runs/good/base --corpus runs/good/texts",
        3,
        (
            "error: runs/good/texts holds no documents in split 'held_out' (splits found: train); give a "
            "corpus that has it"
        ),
    ),
    Case(
        "A solved problem without a marked answer",
        "synth word-problems --examples problems.jsonl",
        3,
        (
            "error: problems.jsonl:2: not a solved problem: its answer does not end in a line like '#### 42'; "
            "mend the row"
        ),
        {
            "problems.jsonl": rows(
                {"question": "How many are 2 and 2?", "answer": "2 + 2 = 4\n#### 4"},
                {"question": "How many are 3 and 3?", "answer": "3 + 3 = 6"},
            )
        },
    ),
    Case(
        "Too few solved problems",
        "synth word-problems --examples problems.jsonl --steps 2",
        3,
        (
            "error: problems.jsonl: fewer than 20 problems of each length up to 2 steps; give more, or "
            "raise steps"
        ),
        {
            "problems.jsonl": rows(
                *({"question": f"{n} and 2?", "answer": f"{n} + 2\n#### {n + 2}"} for n in range(9))
            )
        },
    ),
    Case(
        "Stories of what are no word problems",
        "synth stories --examples questions",
        3,
        (
            "error: questions/train.jsonl: no word problems by steps; give examples that "
            "`synth word-problems` made"
        ),
    ),
]
