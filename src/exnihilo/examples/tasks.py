"""Tasks as data: definitions, templates and instances, out of YAML or of Super-NaturalInstructions' JSON."""

from __future__ import annotations

import json
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from exnihilo.core.config import Config, read_yaml, validate
from exnihilo.core.errors import ConfigError, Refused
from exnihilo.core.jsonl import why_not_json
from exnihilo.examples.rows import json_kind, read_rows

OPTIONS = "options"
"""The field of a template, and of a row, that holds the answer options."""
_YAML = (".yaml", ".yml")
_CLASSES = ("Coreference Resolution", "Dialogue Act Recognition", "Textual Entailment", "Word Analogy")
"""Categories of Super-NaturalInstructions that are classification, beside those that are called so."""


@dataclass(frozen=True)
class Template:
    """How an instance is asked and answered; `inverted`: the answer is given, and what it answers is asked for."""

    input: str
    target: str
    inverted: bool = False


@dataclass(frozen=True)
class Instance:
    """Values of the fields that templates name, several accepted answers in `answers` (then the field `output`)."""

    fields: Mapping[str, str]
    options: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Worked:
    """An example that came with a task, right or wrong, and why."""

    input: str
    output: str
    explanation: str = ""


@dataclass
class Task:
    """A task.

    Attributes:
        positive: worked examples to show; without any, other instances are shown.
        negative: wrong ones.
        classes: whether an answer is one of a few, and right only word by word.
        track: "english", or "cross-lingual" where another language is read or written.
        bad: numbers of the rows that are no instances, by the reason.
    """

    name: str
    cluster: str
    templates: list[Template]
    instances: list[Instance]
    definition: str = ""
    positive: list[Worked] = field(default_factory=list)
    negative: list[Worked] = field(default_factory=list)
    classes: bool = False
    track: str = "english"
    bad: dict[str, list[int]] = field(default_factory=dict)


class _TemplateEntry(Config):
    input: str
    target: str
    inverted: bool = False


class _TaskEntry(Config):
    name: str = Field(min_length=1)
    cluster: str = Field(min_length=1)
    definition: str = ""
    options: list[str] = Field(default=[])
    templates: list[_TemplateEntry] = Field(min_length=1)
    examples: str | list[dict[str, Any]]

    @model_validator(mode="after")
    def _templates_are_readable(self) -> _TaskEntry:
        for number, template in enumerate(self.templates):
            for text in (template.input, template.target):
                try:
                    list(field_names(text))
                except ValueError as error:
                    raise ValueError(f"templates[{number}]: {error}") from error
            if template.inverted and OPTIONS in field_names(template.input):
                raise ValueError(
                    f"templates[{number}]: inverted, and it names the options; leave {{options}} out"
                )
        return self


def field_names(text: str) -> Iterator[str]:
    """The fields `{name}` of a template; `{{` and `}}` are braces. Raises ValueError for another thing in braces."""
    for _, name, format_spec, conversion in string.Formatter().parse(text):
        if name is None:
            continue
        if not name.isidentifier() or format_spec or conversion:
            raise ValueError(f"{{{name}}} is no field; write {{name}}, or {{{{ and }}}} for braces")
        yield name


def task_files(path: Path) -> list[Path]:
    """The files of tasks that a path names: a YAML file, a file of Super-NaturalInstructions, or a folder of both;
    none for conversations."""
    if path.is_dir():
        if (path / "train.jsonl").is_file():
            return []
        return sorted(file for file in path.iterdir() if file.suffix in (*_YAML, ".json") and file.is_file())
    if path.suffix in _YAML:
        return [path]
    return [path] if path.suffix == ".json" and _looks_natural(path) else []


def _looks_natural(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(1 << 16)
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and b'"Definition"' in head


def read_tasks(path: Path) -> list[Task]:
    """Every task of a file or folder, in the order of file names.

    Raises ConfigError for keys or templates that can't be, Refused for data that can't be read or a task given twice.
    """
    folder = path if path.is_dir() else None
    tasks: list[Task] = []
    for file in task_files(path):
        tasks += _natural(file) if file.suffix == ".json" else _templated(file, folder)
    seen: set[str] = set()
    for task in tasks:
        if task.name in seen:
            raise Refused(f"{path}: two tasks are called {task.name!r}; give each its own name")
        seen.add(task.name)
    return tasks


def _templated(file: Path, folder: Path | None) -> Iterator[Task]:
    values = read_yaml(file)
    several = values.keys() == {"tasks"} and isinstance(values["tasks"], list)
    for number, entry in enumerate(values["tasks"] if several else [values]):
        where = f"{file}: tasks[{number}]" if several else str(file)
        if not isinstance(entry, dict):
            raise ConfigError(f"{where}: a task is a mapping with name, cluster, templates and examples")
        given = validate(_TaskEntry, entry, where=where)
        templates = [Template(one.input, one.target, one.inverted) for one in given.templates]
        task = Task(given.name, given.cluster, templates, [], given.definition, classes=bool(given.options))
        for line, row in _rows(given.examples, file, folder):
            problem = row if isinstance(row, str) else _add(task, row, given.options)
            if problem is not None:
                task.bad.setdefault(problem, []).append(line)
        if not task.instances:
            reason = next((f"{why} (row {rows[0]})" for why, rows in task.bad.items()), "there is none")
            raise Refused(
                f"{where}: no example can be used: {reason}; mend the examples, or use other templates"
            )
        yield task


def _rows(
    examples: str | list[dict[str, Any]], file: Path, folder: Path | None
) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    """(1-based number, row or what is wrong with it)."""
    if isinstance(examples, list):
        yield from enumerate(examples, start=1)
        return
    if folder is None or Path(examples).name != examples:
        raise ConfigError(
            f"{file}: examples: {examples!r}: rows in a file of their own lie beside the YAML; give the folder of "
            "both, so that a change of either is noticed"
        )
    for raw in read_rows(folder / examples):
        yield raw.line, raw.value if raw.value is not None else raw.problem or "no object"


def _add(task: Task, row: Mapping[str, Any], options: list[str]) -> str | None:
    """Take a row as an instance; the reason where that can't be."""
    own = row.get(OPTIONS, options)
    if not (isinstance(own, list) and all(isinstance(one, str) for one in own)):
        return "options is not a list of texts"
    fields: dict[str, str] = {}
    for name, value in row.items():
        if name == OPTIONS:
            continue
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            return f"{name} is {json_kind(value)}, not text; put it in quotes"
        fields[name] = str(value)
    for template in task.templates:
        for name in (*field_names(template.input), *field_names(template.target)):
            if name not in fields and not (name == OPTIONS and own):
                return f"no field {name}, which a template names"
        target = filled(template.target, fields)
        if not target.strip():
            return "an empty answer"
        if own and not template.inverted and target not in own:
            return f"{target!r:.40} is none of the options"
    task.classes = task.classes or bool(own)
    task.instances.append(Instance(fields, tuple(own)))
    return None


def filled(text: str, fields: Mapping[str, str]) -> str:
    """A template with its fields put in, as they are."""
    parts = []
    for literal, name, _, _ in string.Formatter().parse(text):
        parts += [literal, "" if name is None else fields[name]]
    return "".join(parts)


def _natural(file: Path) -> Iterator[Task]:
    """A task of Super-NaturalInstructions (arXiv 2204.07705)."""
    try:
        given = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{file}: can't be read ({error}); save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise Refused(f"{file}: not JSON ({why_not_json(error)}); mend or remove it") from error
    reason = natural_fault(given)
    if reason is not None:
        raise Refused(f"{file}: no task of Super-NaturalInstructions: {reason}; mend or remove it")
    definition = given["Definition"]
    category = _texts(given["Categories"])[0]
    languages = {
        one for key in ("Input_language", "Output_language") for one in _texts(given.get(key, "English"))
    }
    task = Task(
        file.stem,
        category,
        [Template("{input}", "{output}")],
        [],
        definition if isinstance(definition, str) else " ".join(definition),
        [_worked(one) for one in given["Positive Examples"]],
        [_worked(one) for one in given.get("Negative Examples", [])],
        classes=category.endswith("Classification") or category in _CLASSES,
        track="english" if languages == {"English"} else "cross-lingual",
    )
    for number, one in enumerate(given["Instances"], start=1):
        answers = tuple(_texts(one["output"]))
        if not all(answer.strip() for answer in answers) or not answers:
            task.bad.setdefault("an empty answer", []).append(number)
            continue
        task.instances.append(Instance({"input": one["input"], "output": answers[0]}, answers=answers))
    yield task


def natural_fault(given: Any) -> str | None:
    """Why a JSON value is no task of Super-NaturalInstructions, or None."""
    if not isinstance(given, Mapping):
        return f"{json_kind(given)}, not an object"
    for key in ("Definition", "Categories", "Positive Examples", "Instances"):
        if key not in given:
            return f"no {key}"
    for key in ("Definition", "Categories", "Input_language", "Output_language"):
        if key in given and not all(isinstance(one, str) for one in _texts(given[key])):
            return f"{key} is no text and no list of texts"
    if not _texts(given["Categories"]):
        return "Categories is empty"
    for key, kinds in (("Positive Examples", str), ("Negative Examples", str), ("Instances", str | list)):
        rows = given.get(key, [])
        if not isinstance(rows, list):
            return f"{key} is not a list"
        for number, row in enumerate(rows, start=1):
            where = f"{key}, number {number}"
            if not isinstance(row, Mapping) or not isinstance(row.get("input"), str):
                return f"{where}: no input"
            if not isinstance(row.get("output"), kinds) or not all(
                isinstance(t, str) for t in _texts(row["output"])
            ):
                return f"{where}: no output"
            if not isinstance(row.get("explanation", ""), str):
                return f"{where}: explanation is no text"
    return None if given["Instances"] else "Instances is empty"


def _texts(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _worked(row: Mapping[str, Any]) -> Worked:
    return Worked(row["input"], row["output"], row.get("explanation", ""))
