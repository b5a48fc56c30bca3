"""Word problems: their steps lead to their answers, splits do not leak, and users' files are read as they are."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from exnihilo.core.documents import read_documents
from exnihilo.core.errors import Refused
from exnihilo.core.workspace import Workspace
from exnihilo.synth.problem import LARGEST, problem
from exnihilo.synth.solved import read_solved
from exnihilo.synth.stories import StoriesConfig, stories
from exnihilo.synth.word_problems import WordProblemsConfig, word_problems
from exnihilo.verify.check import check

Rows = dict[str, list[dict[str, Any]]]
SMALL = {"demonstrations": 30, "validation": 5, "prompts": 40, "held_out": 20}


def make(folder: Path, seed: int = 1, **changes: Any) -> Rows:
    config = WordProblemsConfig(**(SMALL | changes))
    inputs = {"examples": Path(config.examples)} if config.examples else {}
    word_problems(config, inputs, Workspace(folder, seed=seed))  # type: ignore[arg-type]
    return {
        split: [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]
        for split in ("train", "validation", "prompts", "held_out")
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("problems")


@pytest.fixture(scope="module")
def world(folder: Path) -> Rows:
    return make(folder)


@pytest.mark.parametrize("steps", range(1, 7))
def test_each_step_follows_from_the_one_before_and_its_number_is_in_its_sentence(steps: int) -> None:
    rng = random.Random(steps)
    for _ in range(200):
        made = problem(rng, steps)
        assert len(made.steps) == steps
        for i, step in enumerate(made.steps):
            assert eval(f"{step.left} {step.sign} {step.right} == {step.value}"), step
            assert 1 <= step.value <= LARGEST
            said = {int(number) for number in re.findall(r"\d+", step.sentence)}
            assert said == ({step.left, step.right} if i == 0 and not made.opening else {step.right})
            assert i == 0 or step.left == made.steps[i - 1].value
        if made.opening:
            assert re.findall(r"\d+", made.opening) == [str(made.steps[0].left)]
        assert not re.search(r"[{}]|\s\s|\.\.", made.question) and made.question.endswith("?")


def test_both_answers_pass_the_verifier_and_a_wrong_last_number_does_not() -> None:
    rng = random.Random(0)
    for _ in range(300):
        question = problem(rng, 3).as_question()
        for reply in (question.reply, question.worked):
            assert reply is not None and check(question.verifier, reply).correct is True
            wrong = f"{reply.removesuffix('.')}1."
            assert check(question.verifier, wrong).correct is False


def test_so_many_demonstrations_show_their_steps(world: Rows, tmp_path: Path) -> None:
    def share(rows: Rows) -> float:
        replies = [row["messages"][1]["content"] for row in rows["train"]]
        return sum("=" in reply for reply in replies) / len(replies)

    assert 0.25 < share(world) < 0.55
    assert share(make(tmp_path, worked_share=1.0)) == 1.0


def test_every_length_has_what_was_asked_for_and_longer_ones_are_only_asked(world: Rows) -> None:
    for split in ("train", "validation", "prompts"):
        counts = Counter(row["meta"]["family"] for row in world[split])
        assert counts == {
            f"steps-{n}": SMALL["demonstrations" if split == "train" else split] for n in (1, 2, 3)
        }
    assert Counter(row["family"] for row in world["held_out"]) == {f"steps-{n}": 20 for n in range(1, 6)}


def test_no_plan_is_both_held_out_and_trained_on(world: Rows, folder: Path, tmp_path: Path) -> None:
    held = {row["meta"]["key"] for row in world["held_out"]}
    for split in ("train", "validation", "prompts"):
        assert not held & {row["meta"]["key"] for row in world[split]}
    stories(
        StoriesConfig(examples="problems", documents=400), {"examples": folder}, Workspace(tmp_path, seed=1)
    )
    texts = [d.text for split in ("train", "held_out") for d in read_documents(tmp_path, split)]
    told = [line for text in texts for line in text.splitlines()]
    assert len(texts) == 400 and not any("?" in line for line in told)
    plain = {line for line in told if "=" not in line}
    accounts = [line for line in told if "=" in line and not line[0].isdigit()]
    assert max(line.count("=") for line in accounts) == 3
    assert {re.sub(r": \d+ . \d+ = \d+\.", ".", line) for line in accounts} == plain
    asked = (row["messages"][0]["content"] for row in world["held_out"])
    assert plain.isdisjoint(re.sub(r" [^.]*\?$", "", question) for question in asked)


def test_the_split_belongs_to_the_world_and_the_draw_to_the_seed(world: Rows, tmp_path: Path) -> None:
    assert make(tmp_path / "again") == world
    other = make(tmp_path / "other", seed=2)
    assert other != world
    held = {row["meta"]["key"] for row in world["held_out"]}
    assert not held & {row["meta"]["key"] for row in other["train"]}


def solved(path: Path, count: int = 60) -> Path:
    rows = [
        {
            "question": f"A shop sells {n} pens in the morning and 3 at noon. Half are red. How many are that?",
            "answer": f"It sells {n}+3=<<{n}+3={n + 3}>>{n + 3} pens.\nRed are half: {n + 3}/2.\n#### {(n + 3) / 2:,}",
        }
        for n in range(1000, 1000 + count)
    ]
    rows += [
        {"question": f"What is {n} more than 2?", "answer": f"2+{n}={n + 2}\n#### {n + 2}"}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_file_of_solved_problems_is_parted_by_its_lines_of_steps(tmp_path: Path) -> None:
    file = solved(tmp_path / "mine.jsonl")
    one = next(read_solved(file))
    assert one.steps == 2 and one.lines[0] == "It sells 1000+3=1003 pens." and one.answer == "501.5"
    rows = make(tmp_path / "made", examples=str(file), steps=1, longer=1)
    assert {row["family"] for row in rows["prompts"]} == {"steps-1"}
    assert {row["family"] for row in rows["held_out"]} == {"steps-1", "steps-2"}
    prompts = [row["messages"][0]["content"] for split in rows.values() for row in split]
    assert len(prompts) == len(set(prompts))
    for row in rows["train"]:
        assert check(
            {"kind": "number", "value": row["meta"]["answer"]}, row["messages"][1]["content"]
        ).correct


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "Why?"}, "no question and answer as text"),
        ({"question": "How many?", "answer": "Many.\n42"}, "does not end in a line like '#### 42'"),
        ({"question": "How many?", "answer": "Many.\n#### many"}, "does not end in a line like '#### 42'"),
        ({"question": "How many?", "answer": "#### 42"}, "no steps before '####'"),
    ],
)
def test_a_row_that_is_no_solved_problem_is_named_by_its_line(
    row: dict[str, str], said: str, tmp_path: Path
) -> None:
    file = solved(tmp_path / "mine.jsonl", 1)
    file.write_text(file.read_text() + json.dumps(row) + "\n")
    with pytest.raises(Refused, match=rf"mine\.jsonl:3: not a solved problem: .*{re.escape(said)}"):
        list(read_solved(file))


def test_a_file_without_problems_of_the_lengths_that_are_trained_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(solved(file).read_text().splitlines(keepends=True)[:60]))  # those of two steps
    with pytest.raises(Refused, match="fewer than 20 problems of each length up to 1 steps"):
        make(tmp_path / "made", examples=str(file), steps=1)
    assert {row["family"] for row in make(tmp_path / "two", examples=str(file))["held_out"]} == {"steps-2"}


def test_stories_want_word_problems(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"messages": [], "meta": {"family": "truth"}}\n')
    with pytest.raises(Refused, match="no word problems by steps"):
        stories(
            StoriesConfig(examples="x", documents=100), {"examples": tmp_path}, Workspace(tmp_path / "out")
        )
