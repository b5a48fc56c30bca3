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


def is_byte_fallback(data: Mapping[str, Any]) -> bool:
    """Whether a `tokenizer.json` is BPE or Unigram over text with spaces as `▁`, and bytes (`<0x0A>`) for what it has
    no piece of: SentencePiece as Llama 1 and 2 and Mistral have it."""
    model = data.get("model")
    return (
        isinstance(model, Mapping)
        and model.get("type") in ("BPE", "Unigram")
        and bool(model.get("byte_fallback"))
    )


def is_wordpiece(data: Mapping[str, Any]) -> bool:
    """Whether a `tokenizer.json` is BERT's: pieces of words, those after the first with `##` before them."""
    model = data.get("model")
    return (
        isinstance(model, Mapping)
        and model.get("type") == "WordPiece"
        and model.get("continuing_subword_prefix") == "##"
    )


def without_prefix(data: dict[str, Any]) -> dict[str, Any]:
    """Such a tokenizer without the space that it puts before every text, and takes away again when it decodes.

    That space is right where a text begins, and wrong at each border inside of one, of which a conversation has many:
    without it a text's ids are those of its bytes, wherever it stands.
    """
    found = dict(data)
    found["normalizer"] = _parts_without(data.get("normalizer"), "normalizers", "Prepend")
    found["decoder"] = _parts_without(data.get("decoder"), "decoders", "Strip")
    for name in ("pre_tokenizer", "decoder"):
        part = found.get(name)
        if isinstance(part, Mapping) and part.get("type") == "Metaspace":
            found[name] = {**part, "prepend_scheme": "never"}
    return found


def _parts_without(part: Any, name: str, kind: str) -> Any:
    """A part of a tokenizer without those of one type in it; None where nothing is left."""
    if not isinstance(part, Mapping):
        return part
    if part.get("type") == "Sequence":
        kept = [_parts_without(one, name, kind) for one in part.get(name, [])]
        return {**part, name: [one for one in kept if one is not None]}
    return None if part.get("type") == kind else part


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
