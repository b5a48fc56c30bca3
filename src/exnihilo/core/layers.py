"""Where config values come from: YAML files, flags and the environment, laid over each other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from exnihilo.core.errors import ConfigError

MOST_DIGITS = 40
"""More than any number in a config has; Python itself reads no more than 4,300."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's numbers, no dates, and an error for a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                hint = " (a bare yes, no, on or off is true or false)" if isinstance(key, bool) else ""
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is not text{hint}; quote it", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice; keep one", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {}
# PyYAML follows YAML 1.1, where `1e-3` is text, `1:30` is 90, `010` is 8 and `2024-01-01` is a date.
for _tag, _pattern, _first in (
    ("bool", r"(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)", "yYnNtTfFoO"),
    ("int", r"[-+]?[0-9][0-9_]*", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    ("null", r"(?:~|null|Null|NULL|)", "~nN\0"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), ["" if c == "\0" else c for c in _first]
    )


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    digits = str(node.value).replace("_", "")
    if len(digits) > MOST_DIGITS:
        raise yaml.constructor.ConstructorError(
            None, None, f"a number of {len(digits)} digits; quote it if it is text", node.start_mark
        )
    return int(digits)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """Read a YAML mapping (UTF-8, with or without a byte order mark; an empty file is an empty mapping).

    Raises ConfigError, with file and line, for a missing file, broken YAML, a key given twice or another
    shape.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; give the path of a YAML file") from error
    try:
        # The loader is a SafeLoader: it makes plain values only.
        values = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: {_mended(error.problem or 'not YAML')}") from error
    except yaml.YAMLError as error:
        reason = getattr(error, "reason", None) or " ".join(str(error).split())
        raise ConfigError(f"{path}: not YAML ({reason}); save it as plain text in UTF-8") from error
    except (ValueError, RecursionError) as error:
        what = "brackets nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"{path}: not YAML ({what}); mend it") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path}: a mapping of keys is wanted, not a {type(values).__name__}; write KEY: VALUE"
        )
    return values


def _mended(problem: str) -> str:
    """What the parser says, with what to do where it does not say that itself."""
    if "quote it" in problem or "keep one" in problem:
        return problem
    if "\\t" in problem:
        return f"{problem}; indent with spaces, not with tabs"
    return f"{problem}; mend the YAML there"


def parse_flags(argv: Sequence[str]) -> dict[str, Any]:
    """["--optim.lr", "1e-3", "--on", "--a.b=c"] is {"optim": {"lr": "1e-3"}, "on": True, "a": {"b": "c"}}.

    Values stay text until a schema gives them a type; a flag given several times is a list. A value that
    begins with two dashes is written `--key=--value`. Raises ConfigError for anything else.
    """
    values: dict[str, Any] = {}
    position = 0
    last = ""
    while position < len(argv):
        word = argv[position]
        position += 1
        if not word.startswith("--") or word == "--":
            hint = f"; several values are written {last} a,b" if last else ""
            raise ConfigError(f"unexpected argument {word!r}: options are written --key value{hint}")
        last, equals, given = word.partition("=")
        value: str | bool = given
        if not equals:
            value = True
            if position < len(argv) and not argv[position].startswith("--"):
                value = argv[position]
                position += 1
        _put(values, last, value)
    return values


def _put(values: dict[str, Any], flag: str, value: str | bool) -> None:
    *parents, leaf = flag[2:].split(".")
    if not leaf or not all(parents):
        raise ConfigError(f"{flag}: not a key; options are written --section.key value")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{flag}: {parent} was given a value and a key inside it; give one of them")
    if isinstance(values.get(leaf), dict):
        raise ConfigError(f"{flag}: given a value and a key inside it; give one of them")
    if leaf in values:
        earlier = values[leaf] if isinstance(values[leaf], list) else [values[leaf]]
        values[leaf] = [*earlier, value]
    else:
        values[leaf] = value


def environment(prefix: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The variables `<prefix>KEY` and `<prefix>SECTION__KEY` as nested lower-case keys; values stay text."""
    values: dict[str, Any] = {}
    for name in sorted(environ):
        parts = name.removeprefix(prefix).lower().split("__")
        if name.startswith(prefix) and all(parts):
            _put(values, "--" + ".".join(parts), environ[name])
    return values


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Lay mappings over each other, later over earlier, key by key through every level."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            below = merged.get(key)
            if isinstance(below, Mapping) and isinstance(value, Mapping):
                merged[key] = merge(below, value)
            else:
                merged[key] = value
    return merged
