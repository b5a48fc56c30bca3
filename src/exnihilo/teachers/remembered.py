"""Answers that are kept: what was said once is not asked again, whatever ended the run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from exnihilo.core.errors import Refused
from exnihilo.core.events import append_line
from exnihilo.core.jsonl import dumps
from exnihilo.teachers.teacher import Ask, Heard, Said, Teacher


class Remembered:
    """A teacher with a file of what it has said: JSON Lines, an answer a line, written as soon as it is there.

    Equal questions are asked once. What got no answer is not kept: it is asked again the next time. A line that a
    killed run left cut short is passed over. Raises Refused for a file that holds something else.
    """

    def __init__(self, teacher: Teacher, path: Path) -> None:
        self.teacher, self.path, self.name = teacher, path, teacher.name
        self.remembered = 0
        self._said = _read(path)

    def answer(self, asks: Sequence[Ask], heard: Heard | None = None) -> list[Said]:
        """See `Teacher`."""
        keys = [ask.key(self.name) for ask in asks]
        said: list[Said | None] = [self._said.get(key) for key in keys]
        places: dict[str, list[int]] = {}
        for i, (key, known) in enumerate(zip(keys, said, strict=True)):
            if known is None:
                places.setdefault(key, []).append(i)
            else:
                self.remembered += 1
                if heard is not None:
                    heard(i, known)
        open_keys = list(places)

        def keep(n: int, answer: Said) -> None:
            key = open_keys[n]
            if answer.text is not None:
                append_line(self.path, dumps({"key": key, **asdict(answer)}))
                self._said[key] = answer
            for i in places[key]:
                said[i] = answer
                if heard is not None:
                    heard(i, answer)

        if open_keys:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.teacher.answer([asks[places[key][0]] for key in open_keys], keep)
        return [one for one in said if one is not None]


def _read(path: Path) -> dict[str, Said]:
    found: dict[str, Said] = {}
    if not path.exists():
        return found
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            row = json.loads(line)
        except ValueError:  # empty, or its writer died
            continue
        try:
            key = row.pop("key")
            found[key] = Said(**row)
        except (KeyError, TypeError, AttributeError) as error:
            raise Refused(
                f"{path}:{number}: no answer of a teacher ({error}); name a file of this program's own"
            ) from error
    return found
