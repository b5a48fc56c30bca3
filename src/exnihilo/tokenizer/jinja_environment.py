"""The sandbox that chat templates are rendered in, with the names that published templates expect."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from exnihilo.core.errors import ConfigError

SPAN_START = "_generation_start"
SPAN_STOP = "_generation_stop"
"""Variables printed around each `{% generation %}` block: nothing where they are undefined."""


class GenerationBlocks(Extension):
    """`{% generation %}…{% endgeneration %}`: the text that the model writes, as in `transformers`."""

    tags = {"generation"}  # noqa: RUF012  (the library's own declaration)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The block's body in a scope of its own, between the two variables."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        start = nodes.Output([nodes.Name(SPAN_START, "load")], lineno=line)
        stop = nodes.Output([nodes.Name(SPAN_STOP, "load")], lineno=line)
        return [start, nodes.Scope(body, lineno=line), stop]


@lru_cache(maxsize=64)
def compile_template(source: str) -> jinja2.Template:
    """A template ready to render. Raises ConfigError with the line where it is not valid Jinja."""
    try:
        return _environment().from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(
            f"chat template, line {error.lineno}: {error.message}; mend the template"
        ) from error


@lru_cache(maxsize=64)
def marks_generation(source: str) -> bool:
    """Whether a valid template has `{% generation %}` blocks."""
    return any(name.name == SPAN_START for name in _environment().parse(source).find_all(nodes.Name))


def lex(source: str) -> Iterator[tuple[str, str]]:
    """The kinds and texts of a template's tokens, in Jinja's terms; all texts together are the template.

    Raises ConfigError where it is not valid Jinja.
    """
    try:
        for _, kind, text in _environment().lexer.tokeniter(source, None):
            yield kind, text
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(
            f"chat template, line {error.lineno}: {error.message}; mend the template"
        ) from error


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlocks, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes for HTML, which would change the text that the model sees.
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.datetime.now().strftime(form)
