"""Watches a stage's metrics and says once what the rules of `advice` find."""

from __future__ import annotations

import json
from typing import Any

from exnihilo.core.workspace import Workspace
from exnihilo.train.advice import RULES
from exnihilo.train.history import Facts, History

METRICS, ADVICE = "metrics.jsonl", "advice.jsonl"


class Advisor:
    """Reads new lines of metrics.jsonl, whoever wrote them, and writes `advice.jsonl`: one line a finding.

    A rule speaks once in a run, resumed or not; what is said is an event, too.
    """

    def __init__(self, work: Workspace, facts: Facts) -> None:
        self.work, self.facts = work, facts
        self._begin(None)

    def look(self, step: int) -> None:
        """Take what was recorded since the last look, and say what is new to say."""
        for record in self._new_lines():
            self.history.add(record)
        for rule in RULES:
            if rule.__name__ in self.said:
                continue
            text = rule(self.history, self.facts)
            if text is not None:
                self.said.add(rule.__name__)
                self.work.record(ADVICE, step=step, rule=rule.__name__, text=text)
                self.work.event(
                    "advice", step=step, rule=rule.__name__, message=f"step {step}: advice: {text}"
                )

    def texts(self) -> list[str]:
        """All that was said, in sessions before this one, too."""
        return [str(record["text"]) for record in self._given()]

    def _begin(self, file: int | None) -> None:
        self.history = History()
        self._file, self._offset = file, 0
        self.said = {str(record["rule"]) for record in self._given()}

    def _given(self) -> list[dict[str, Any]]:
        path = self.work.path / ADVICE
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def _new_lines(self) -> list[dict[str, Any]]:
        path = self.work.path / METRICS
        if not path.exists():
            return []
        with path.open("rb") as stream:
            # Records that were cut back, after a resume or a divergence, are another file: it is read anew.
            file = path.stat().st_ino
            if file != self._file:
                self._begin(file)
            stream.seek(self._offset)
            data = stream.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [json.loads(line) for line in whole.splitlines()]
