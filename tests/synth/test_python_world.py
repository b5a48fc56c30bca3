"""The stage python-world: its splits do not leak, its answers are right, and seeds change what they should."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from exnihilo.core.documents import CorpusWriter, Document
from exnihilo.core.errors import Refused
from exnihilo.core.workspace import Workspace
from exnihilo.corpus.findings import Found
from exnihilo.corpus.python_library import read_library
from exnihilo.synth.names import names_in
from exnihilo.synth.python_world import FAMILIES, PRACTICE, WORKED, PythonWorldConfig, python_world
from exnihilo.verify.check import check

MODULES = [
    "argparse",
    "ast",
    "calendar",
    "collections",
    "email",
    "json",
    "logging",
    "textwrap",
    "unittest",
    "zipfile",
]
Rows = dict[str, list[dict[str, object]]]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    with CorpusWriter(folder / "train") as writer:
        for i, found in enumerate(read_library(MODULES)):
            if isinstance(found, Found):
                writer.write(Document(str(i), found.text, "python", "PSF-2.0", "", found.meta))
    return folder


def make(corpus: Path, folder: Path, seed: int = 1, **changes: object) -> Rows:
    given = {"corpus": "corpus", "demonstrations": 60, "validation": 5, "prompts": 40, "held_out": 20}
    config = PythonWorldConfig(**(given | changes))  # type: ignore[arg-type]
    python_world(config, {"corpus": corpus}, Workspace(folder, seed=seed))
    return {
        split: [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]
        for split in ("train", "validation", "prompts", "held_out")
    }


@pytest.fixture(scope="module")
def world(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return make(corpus, tmp_path_factory.mktemp("world"))


def test_every_family_has_what_was_asked_for(world: Rows) -> None:
    for split, wanted in (("train", 60), ("validation", 5), ("prompts", 40), ("held_out", 20)):
        counts = Counter(row["meta"]["family"] for row in world[split])  # type: ignore[index]
        for family in FAMILIES:
            assert counts[family] == wanted * (PRACTICE if split == "train" and family in WORKED else 1), (
                split,
                family,
            )
    yes_no = [row for row in world["held_out"] if row["answer"] in ("Yes", "No")]
    assert len(yes_no) / len(world["held_out"]) <= 0.25


def test_nothing_held_out_is_in_training(world: Rows) -> None:
    trained = [row for split in ("train", "validation", "prompts") for row in world[split]]
    prompts = {row["messages"][0]["content"] for row in trained}  # type: ignore[index]
    keys = {(row["meta"]["family"], row["meta"]["key"]) for row in trained}  # type: ignore[index]
    for row in world["held_out"]:
        assert row["messages"][0]["content"] not in prompts  # type: ignore[index]
        assert (row["family"], row["meta"]["key"]) not in keys  # type: ignore[index]


def test_a_held_out_name_stands_in_no_training_question_of_any_family(world: Rows) -> None:
    facts = ("module", "signature", "purpose")
    held = {row["meta"]["key"] for row in world["held_out"] if row["family"] in facts}  # type: ignore[index]
    for split in ("train", "validation", "prompts"):
        for row in world[split]:
            if row["meta"]["family"] in facts:  # type: ignore[index]
                text = row["messages"][0]["content"]  # type: ignore[index]
                assert not any(f"`{name}`" in text or f"`{name}(" in text for name in held), text


def test_demonstrations_pass_the_verifier_of_a_held_out_item_of_their_kind(world: Rows) -> None:
    for row in world["held_out"] + world["prompts"]:
        answer = row["answer"]
        said = answer if row["verifier"]["kind"] != "code" else f"It is `{answer}`."  # type: ignore[index]
        assert check(row["verifier"], str(said)).correct is True  # type: ignore[arg-type]
    kinds = {row["family"]: row["verifier"]["kind"] for row in world["held_out"]}  # type: ignore[index]
    for row in world["train"]:
        kind = kinds[row["meta"]["family"]] if row["meta"]["family"] not in ("scope", "raises") else None  # type: ignore[index]
        if kind:
            verifier = {"kind": kind, "value": row["meta"]["answer"]}  # type: ignore[index]
            assert check(verifier, row["messages"][1]["content"]).correct is True  # type: ignore[index]


def test_some_demonstrations_show_their_steps_and_most_do_not(world: Rows) -> None:
    replies = [
        row["messages"][1]["content"]  # type: ignore[index]
        for row in world["train"]
        if row["meta"]["family"] in WORKED  # type: ignore[index]
    ]
    composite = [reply for reply in replies if re.search("It is|So it is|, which is", reply)]
    worked = sum(not reply.startswith("It is") for reply in composite) / len(composite)
    assert 0.25 < worked < 0.55


def test_the_split_belongs_to_the_world_and_the_draw_to_the_seed(
    corpus: Path, world: Rows, tmp_path: Path
) -> None:
    again, other = make(corpus, tmp_path / "again"), make(corpus, tmp_path / "other", seed=2)
    assert again == world
    assert other["train"] != world["train"]
    held = {(row["family"], row["meta"]["key"]) for row in world["held_out"]}  # type: ignore[index]
    for row in other["train"]:
        assert (row["meta"]["family"], row["meta"]["key"]) not in held  # type: ignore[index]


def test_names_come_with_module_summary_and_parameters() -> None:
    text = (
        "Module json\n\njson.dumps(obj, indent=None)\n    Serialize obj to a formatted str of text.\n\n"
        "json.load(fp, *, cls=None)\n    Read.\n\njson.JSONDecoder is json.decoder.JSONDecoder\n"
    )
    document = Document("1", text, "python-docs", "PSF-2.0", "", {"module": "json"})
    dumps, load = names_in([document])
    assert (dumps.name, dumps.module, dumps.parameters) == ("dumps", "json", ("obj", "indent=None"))
    assert dumps.summary == "Serialize obj to a formatted str of text"
    assert (load.name, load.parameters, load.summary) == ("load", (), "")


def test_a_corpus_without_documentation_is_refused(tmp_path: Path) -> None:
    with CorpusWriter(tmp_path / "corpus" / "train") as writer:
        writer.write(Document("1", "a poem", "poems", "unknown", "", {}))
    with pytest.raises(Refused, match=r"documents only 0 public names.*python: true"):
        make(tmp_path / "corpus", tmp_path / "out")
