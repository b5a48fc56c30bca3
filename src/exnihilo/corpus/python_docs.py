"""Renders the documentation of standard library modules by introspection.

Runs as a script of its own, in an isolated interpreter, because importing every module of the library changes
a process. It reads a JSON list of [module, path] from stdin and writes one JSON object a line to stdout:
{"module", "path", "text"}, or {"module", "path", "problem"}. It imports nothing of this package.

The text depends on the interpreter alone: names are sorted, and of default values only those are shown whose
representation is the same in every process (no addresses, paths, sets or environment).
"""

from __future__ import annotations

import importlib
import inspect
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

ADDRESS = re.compile(r"(<[^<>\n]*?) at 0x[0-9A-Fa-f]+>")
DEFAULT_LENGTH = 60  # a longer default value says less than "…"
# Modules known to everybody by another name: os.path is posixpath here and ntpath on Windows.
KNOWN_AS = {os.path.__name__: "os.path"}
# Modules that only lend their names to another one: what they define is documented there.
LENDERS = frozenset({"posix", "nt", "genericpath"})


def module_text(name: str, module: ModuleType) -> str:
    """ "Module json.decoder", its docstring, an entry for each public class, method and function in it.

    What it exports but another public module defines is named in one line.
    """
    title = KNOWN_AS.get(name, name)
    parts = [f"Module {title}\n{docstring(module)}".rstrip()]
    exported = public_names(module)
    for attribute in exported:
        value = getattr(module, attribute, None)
        if not (inspect.isclass(value) or is_function(value)):
            continue
        home = getattr(value, "__module__", None) or name
        if home == name or is_private(home):
            parts.extend(entries(f"{title}.{attribute}", value))
        elif hasattr(module, "__all__"):
            parts.append(f"{title}.{attribute} is {home}.{getattr(value, '__qualname__', attribute)}")
    return "\n\n".join(parts) + "\n" if len(parts) > 1 or docstring(module) else ""


def public_names(module: ModuleType) -> list[str]:
    """The names in `__all__`, or those that do not begin with an underscore; sorted."""
    listed = getattr(module, "__all__", None)
    names = [name for name in vars(module) if not name.startswith("_")] if listed is None else listed
    return sorted({str(name) for name in names})


def is_private(module: str) -> bool:
    return module in LENDERS or any(part.startswith("_") for part in module.split("."))


def is_function(value: object) -> bool:
    return inspect.isroutine(value) or (
        callable(value) and inspect.isroutine(getattr(value, "__wrapped__", None))
    )


def entries(name: str, value: Any) -> Iterator[str]:
    """The entry of a function, or of a class followed by those of its own public methods and properties."""
    yield entry(name, signature(value), value)
    if not inspect.isclass(value):
        return
    for attribute in sorted(vars(value)):
        if attribute.startswith("_"):
            continue
        member = vars(value)[attribute]
        if isinstance(member, staticmethod | classmethod):
            member = member.__func__
        if is_function(member):
            yield entry(f"{name}.{attribute}", signature(member), member)
        elif isinstance(member, property) and docstring(member):
            yield entry(f"{name}.{attribute}", "", member)


def entry(name: str, signature: str, value: Any) -> str:
    lines = [f"    {line}" if line else "" for line in docstring(value).split("\n")]
    return "\n".join([f"{name}{signature}", *lines]).rstrip()


def docstring(value: Any) -> str:
    """The value's own docstring, not one inherited from a base class, without indentation."""
    text = vars(value).get("__doc__") if inspect.isclass(value) else getattr(value, "__doc__", None)
    return ADDRESS.sub(r"\1>", inspect.cleandoc(text)).strip() if isinstance(text, str) else ""


def signature(value: Any) -> str:
    """ "(obj, *, skipkeys=False, …)" without annotations; "(...)" where the interpreter does not know it."""
    try:
        found = inspect.signature(value)
    except (
        ValueError,
        TypeError,
        AttributeError,
    ):  # AttributeError: defaults named by constants not there yet
        return "(...)"
    empty = inspect.Parameter.empty
    # A default is put in as an object whose representation is the text wanted.
    parameters = [
        parameter.replace(
            annotation=empty,
            default=empty if parameter.default is empty else _Shown(default_text(parameter.default)),
        )
        for parameter in found.parameters.values()
    ]
    return str(found.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


class _Shown:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def default_text(value: Any) -> str:
    """A default value as text that is the same in every process, or "..."."""
    if inspect.isclass(value) or inspect.isroutine(value):
        return str(getattr(value, "__qualname__", "..."))
    if not is_plain(value):
        return "..."
    text = repr(value)
    holds_path = (
        isinstance(value, str | bytes) and len(value) > 1 and text.strip("b'\"").startswith(("/", "\\"))
    )
    return text if len(text) <= DEFAULT_LENGTH and not holds_path else "..."


def is_plain(value: Any) -> bool:
    if type(value) in (tuple, list):
        return all(is_plain(item) for item in value)
    return value in ({}, ...) if type(value) in (dict, type(...)) else type(value) in PLAIN


PLAIN = (type(None), bool, int, float, complex, str, bytes)


def document(name: str) -> dict[str, str]:
    """{"text": …} of a module, or {"problem": …} if this interpreter cannot import it."""
    try:
        return {"text": module_text(name, importlib.import_module(name))}
    except (ImportError, OSError, AttributeError, RuntimeError, SyntaxError, SystemExit) as error:
        return {"problem": f"{type(error).__name__}: {error}"}


def main() -> None:
    modules = json.load(sys.stdin)
    warnings.simplefilter("ignore")
    out = sys.stdout
    sys.stdout = sys.stderr = io.StringIO()  # what a module prints when it is imported
    try:
        for name, path in modules:
            line = json.dumps({"module": name, "path": path} | document(name))
            out.write(line + "\n")
    finally:
        sys.stdout, sys.stderr = out, sys.__stderr__
        out.flush()


if __name__ == "__main__":
    main()
