"""Lists that the user brings: an entry a line, lines that begin with `#` are comments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from exnihilo.core.errors import ConfigError


def block_list(path: Path, kind: str, form: Callable[[str], str]) -> frozenset[str]:
    """The entries of a file in the form in which they are compared.

    Raises ConfigError for a file that can't be read, and for an entry of which the form leaves nothing: it is no `kind`
    and could never match.
    """
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give a text file with an entry a line") from error
    entries = set()
    for number, line in enumerate(lines, start=1):
        entry = line.strip()
        if entry and not entry.startswith("#"):
            entries.add(form(entry))
            if not form(entry):
                raise ConfigError(
                    f"{path}:{number}: '{entry}' is no {kind}; take it out or put it on another list"
                )
    return frozenset(entries)
