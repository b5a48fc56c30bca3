"""What filters need to know of a language: `languages.yaml`, read once."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml

from exnihilo.core.errors import ConfigError
from exnihilo.corpus.gopher_config import QualityLimits


def quality_limits(language: str, limits: QualityLimits) -> QualityLimits:
    """Gopher's limits for a language (ISO 639 code): its own stop words and lengths of words in place of the English
    ones, except where `limits` were given a value.

    Raises ConfigError for a language that the file doesn't have.
    """
    if language not in known_languages():
        raise ConfigError(
            f"language: no limits are known for '{language}', only for {', '.join(known_languages())}; give stop_words,"
            " min_mean_word and max_mean_word yourself"
        )
    own = {key: value for key, value in _data()[language].items() if key not in limits.model_fields_set}
    return QualityLimits(**(limits.model_dump(exclude_unset=True) | own))


def known_languages() -> list[str]:
    """The languages of the file, sorted."""
    return sorted(_data())


@lru_cache(maxsize=1)
def _data() -> dict[str, dict[str, Any]]:
    """Of each language the keys of `QualityLimits` in which it differs from English."""
    stated = yaml.safe_load(files("exnihilo.corpus").joinpath("languages.yaml").read_text("utf-8"))
    found = {}
    for language, keys in stated.items():
        least, largest = keys.pop("mean_word")
        words = keys.pop("stop_words").split()  # a list would make YAML's `no` and `on` of them
        found[language] = keys | {"stop_words": words, "min_mean_word": least, "max_mean_word": largest}
    return found
