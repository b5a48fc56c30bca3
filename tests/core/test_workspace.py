"""A stage's records: metrics, samples and events."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exnihilo.core.jsonl import read_jsonl
from exnihilo.core.workspace import Workspace


def steps(work: Workspace, name: str = "metrics.jsonl") -> list[int]:
    return [record["step"] for _, record in read_jsonl(work.path / name)]


def test_core_14_steps_are_monotone_and_have_no_duplicates_after_a_resume(workspace: Workspace) -> None:
    for step in range(1, 8):
        workspace.metric(step=step, loss=1 / step)
        workspace.sample(step=step, text="é\n")
    # Killed after step 7 in the middle of a line; the last checkpoint was at step 4.
    with (workspace.path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 8, "lo')
    again = Workspace(workspace.path, stage="stage")
    again.truncate_records(4)
    for step in range(5, 11):
        again.metric(step=step, loss=1 / step)
        again.sample(step=step, text="é\n")
    assert steps(again) == steps(again, "samples.jsonl") == list(range(1, 11))


def test_core_14_a_sample_is_kept_whatever_the_model_said(workspace: Workspace) -> None:
    """Models say U+0085 and U+2028, at which Python's `splitlines` parts a line, too."""
    texts = ["a\x85b", "c\u2028d\u2029", "e\x0b\x1cf"]
    for step, text in enumerate(texts):
        workspace.sample(step=step, text=text)
    with (workspace.path / "samples.jsonl").open("ab") as stream:
        stream.write('{"step": 3, "text": "é'.encode()[:-1])  # killed in the middle of a letter
    workspace.truncate_records(2)
    kept = [record["text"] for _, record in read_jsonl(workspace.path / "samples.jsonl")]
    assert kept == texts


def test_core_14_a_step_before_the_last_is_an_error_also_in_a_new_process(workspace: Workspace) -> None:
    workspace.metric(step=5, loss=1.0)
    workspace.metric(step=5, validation=2.0)
    with pytest.raises(ValueError, match="step 4 after 5; call truncate_records first"):
        workspace.metric(step=4, loss=1.0)
    with pytest.raises(ValueError, match="step 4 after 5"):
        Workspace(workspace.path).metric(step=4, loss=1.0)
    workspace.truncate_records(3)
    workspace.metric(step=4, loss=1.0)
    assert steps(workspace) == [4]


def test_records_without_a_step_are_kept(workspace: Workspace) -> None:
    workspace.metric(note="start")
    workspace.metric(step=3, loss=1.0)
    workspace.truncate_records(0)
    assert [record for _, record in read_jsonl(workspace.path / "metrics.jsonl")] == [{"note": "start"}]
    workspace.truncate_records(0)


def test_a_line_after_one_that_a_kill_left_broken_stays_readable(workspace: Workspace) -> None:
    (workspace.path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, "lo')
    workspace.metric(step=3, loss=1.0)
    lines = (workspace.path / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"step": 1} and json.loads(lines[2]) == {"step": 3, "loss": 1.0}


def test_events_go_to_the_runs_log_and_to_stderr(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.event("skipped", message="step 7 skipped: the loss is not finite", step=7)
    workspace.event("saved", step=8)
    captured = capsys.readouterr()
    assert captured.err == "stage: step 7 skipped: the loss is not finite\nstage: saved step=8\n"
    assert captured.out == ""
    run = workspace.path.parent
    records = [record for _, record in read_jsonl(run / "events.jsonl")]
    assert [(one["stage"], one["event"], one["step"]) for one in records] == [
        ("stage", "skipped", 7),
        ("stage", "saved", 8),
    ]
    assert all(one["time"].endswith("+00:00") for one in records)
    log = (run / "log.txt").read_text().splitlines()
    assert [line.split(" ", 2)[2] for line in log] == [
        "stage: step 7 skipped: the loss is not finite",
        "stage: saved step=8",
    ]


def test_a_workspace_makes_its_folders(tmp_path: Path) -> None:
    work = Workspace(tmp_path / "a" / "b.partial")
    assert work.path.is_dir() and work.checkpoints == work.path / "checkpoints" and work.checkpoints.is_dir()
    assert (work.provenance, work.summary, work.lines, work.resume) == ([], {}, [], "auto")
    assert work.stop_requested() is None
