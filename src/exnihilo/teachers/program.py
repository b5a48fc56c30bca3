"""A teacher that is a function: the answers of a program, a table, a rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from exnihilo.teachers.teacher import Ask, Heard, Said


class ProgramTeacher:
    """Answers with `function(messages)`; None is no answer. What it raises is no answer either, and says why: one bad
    question must not end a night's work."""

    def __init__(self, name: str, function: Callable[[list[dict[str, str]]], str | None]) -> None:
        self.name, self.function = f"program {name}", function

    def answer(self, asks: Sequence[Ask], heard: Heard | None = None) -> list[Said]:
        """See `Teacher`."""
        said = []
        for i, ask in enumerate(asks):
            try:
                text = self.function(ask.messages)
                one = Said(text, self.name, problem=None if text is not None else "it does not know")
            except Exception as error:
                one = Said(None, self.name, problem=f"{type(error).__name__}: {error}")
            said.append(one)
            if heard is not None:
                heard(i, one)
        return said
