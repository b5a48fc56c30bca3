"""Alignment by ours and by `trl` is the same work, on a shape small enough here."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

pytest.importorskip("trl")
pytest.importorskip("requests")  # trl imports it and does not ask for it

from benchmarks.alignment import GOALS, PEER, _libraries, _notes, _same_lengths, _same_losses
from benchmarks.harness import OURS
from benchmarks.systems import alignment_data, exnihilo_alignment, trl_alignment
from benchmarks.systems.alignment_data import write
from benchmarks.systems.examples import digest_of
from benchmarks.systems.loops import Loop
from benchmarks.systems.rollout import Rollout
from benchmarks.systems.shapes import Shape

TINY = Shape(vocabulary=300, depth=2, width=32, hidden=48, rows=4, length=160, head_dim=16)
FEW = Rollout(prompts=2, group=4, longest=8, row=160)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, str]]:
    """The arguments of `prepare`, and the digests of what is to be learned; of data in the layouts of the real ones."""
    data, folder = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("written")
    sums = [(a, b) for a in range(3, 12) for b in range(5)]

    def file(name: str, rows: list[dict[str, str]]) -> None:
        (data / name).parent.mkdir(exist_ok=True)
        with gzip.open(data / f"{name}.jsonl.gz", "wt", encoding="utf-8") as out:
            out.writelines(json.dumps(row) + "\n" for row in rows)

    file(
        "sft/gpteacher-roleplay-alpaca-format",
        [{"instruction": f"Add {a} to {b}.", "input": "", "output": "It is " + "one " * a} for a, b in sums],
    )
    file("sft/gsm8k-train", [{"question": f"{a} and {b}?", "answer": f"#### {a + b}"} for a, b in sums])
    asked = "\n\nHuman: {} and {}?\n\nAssistant: {}"
    pairs = [
        {"chosen": asked.format(a, b, yes * (26 + b)), "rejected": asked.format(a, b, "no " * (26 + a))}
        for a, b in sums
        for yes in ("yes ", "yea ")
    ]
    talk = "\n\nHuman: And?\n\nAssistant: That"  # a pair that parts before what the user says is left out
    file("preferences/hh-harmless-dev", [{name: text + talk for name, text in pairs[0].items()}, *pairs])
    given = {"shape": TINY.as_dict(), "folder": str(folder), "rollout": FEW.as_dict()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXNIHILO_DATA", str(data))
        patch.setattr(alignment_data, "POLICY", {"steps": 2, "rows": 2, "sample_every": 0})
        return given, write(list(GOALS), str(folder / "kept"), **given)


@pytest.mark.parametrize(("method", "parts"), [("sft", 1), ("sft", 4), ("reward", 2), ("dpo", 1), ("dpo", 2)])
def test_stages_learn_from_what_the_trainers_do_with_the_same_losses(
    method: str, parts: int, written: tuple[dict[str, Any], dict[str, str]]
) -> None:
    given, ids = written
    ours, theirs = exnihilo_alignment, trl_alignment
    assert theirs.prepare(method, parts, **given)["ids"] == ids[method]
    ours.prepare(method, parts, **given)
    results = [system.measure(2) for system in (ours, theirs)]
    assert results[0]["tokens"] == results[1]["tokens"] > 0 < results[0]["seconds"]
    found = {OURS: ours.losses(), PEER: theirs.losses()}
    assert _same_losses(found).ok, found
    assert found[OURS][0] != pytest.approx(found[OURS][2], rel=1e-4), "nothing was learned"
    assert not _same_losses({**found, PEER: [loss * 1.01 for loss in found[PEER]]}).ok
    assert not _same_losses({**found, PEER: [float("nan")] * 3}).ok
    memory = {OURS: ours.memory(), PEER: theirs.memory()}
    assert all(10 < one["before"] <= one["peak"] < 100_000 for one in memory.values())
    assert "before model and data: exnihilo" in _libraries(memory)


def test_both_sample_as_many_answers_to_the_same_questions(
    written: tuple[dict[str, Any], dict[str, str]],
) -> None:
    given, ids = written
    assert trl_alignment.prepare("grpo", 2, **given)["ids"] == ids["grpo"]
    exnihilo_alignment.prepare("grpo", 2, **given)
    results = {OURS: [exnihilo_alignment.measure(2)], PEER: [trl_alignment.measure(2)]}
    assert _same_lengths(results).ok, results
    assert "mean rewards: exnihilo" in _notes("grpo", results)[0] and not _notes("sft", results)
    assert results[OURS][0]["tokens"] <= 2 * FEW.answers * FEW.longest
    assert not _same_lengths({**results, PEER: [{"tokens": 2 * results[OURS][0]["tokens"]}]}).ok


def test_a_digest_depends_on_what_is_learned_and_not_on_the_order_in_a_step() -> None:
    first, second = ([1, 2], [0, 1]), ([3], [0])
    assert digest_of([[first, second]]) == digest_of([[second, first]])
    assert digest_of([[first], [second]]) != digest_of([[second], [first]])
    assert digest_of([[first]]) != digest_of([[([1, 2], [1, 1])]])


def test_a_loop_takes_a_step_at_a_time_and_tells_of_its_errors() -> None:
    done = []

    def train() -> None:
        for step in range(4):
            done.append(step)
            loop.step_ended()
        raise ValueError("no more data")

    loop = Loop(train)
    loop.begin()
    assert done == [0]
    assert loop.seconds(2) > 0 and done == [0, 1, 2]
    loop.seconds(1)
    with pytest.raises(ValueError, match="no more data"):
        loop.seconds(1)
    ended = Loop(lambda: None)
    with pytest.raises(RuntimeError, match="ended before"):
        ended.begin()
