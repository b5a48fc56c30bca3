"""The files of a tokenizer's folder in Hugging Face layout, as they are found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exnihilo.core.errors import Refused

_ROLES = ("bos_token", "eos_token", "pad_token", "unk_token")


def read_json(path: Path, advice: str) -> dict[str, Any]:
    """The JSON object in a file. Raises `Refused` with `advice` where there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refused(f"{path}: {error.strerror or error}; {advice}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Refused(f"{path}: not JSON ({error}); fetch or make it again") from error
    if not isinstance(data, dict):
        raise Refused(f"{path}: a JSON object is wanted, not {type(data).__name__}; {advice}")
    return data


def read_optional_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file, empty if there is no such file. Raises `Refused` for a broken one."""
    return read_json(path, "mend or remove it") if path.exists() else {}


def role_names(config: Mapping[str, Any]) -> dict[str, str]:
    """The literals of the named special tokens; on disk they are strings or objects with `content`."""
    names = {}
    for role in _ROLES:
        value = config.get(role)
        value = value.get("content") if isinstance(value, Mapping) else value
        if isinstance(value, str):
            names[role] = value
    return names


def is_byte_level(data: Mapping[str, Any]) -> bool:
    """Whether the content of a `tokenizer.json` turns its tokens back into bytes."""
    decoder = data.get("decoder")
    if not isinstance(decoder, Mapping):
        return False
    if decoder.get("type") == "Sequence":
        return any(is_byte_level({"decoder": part}) for part in decoder.get("decoders", []))
    return decoder.get("type") == "ByteLevel"


def read_template(folder: Path, config: Mapping[str, Any]) -> str:
    """The chat template: `chat_template.jinja`, or else the key in the config, as in `transformers`."""
    path = folder / "chat_template.jinja"
    if path.exists():
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"{path}: cannot be read ({error}); write it as UTF-8 text") from error
    value = config.get("chat_template") or ""
    if isinstance(value, list):
        named = {entry.get("name"): entry.get("template") for entry in value if isinstance(entry, Mapping)}
        value = named.get("default") or ""
    if not isinstance(value, str):
        raise Refused(f"{folder / 'tokenizer_config.json'}: chat_template must be text; mend it")
    return value
