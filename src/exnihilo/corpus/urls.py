"""The address of a page: whether block lists name it, and the key by which two addresses are the same page.

The lists are the user's. They and the addresses are brought into one form before they are compared, in lower case among
other things, so that neither side's spelling decides.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import Field

from exnihilo.core.config import Config, why
from exnihilo.corpus.block_list import block_list

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_WORD = re.compile(r"[0-9a-z\x80-\U0010ffff]+")  # in lower case; marks of Indic scripts belong to their word
_ESCAPE = re.compile(r"%([0-9a-fA-F]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")
_SESSION = re.compile(r";jsessionid=[^/?#]*", re.IGNORECASE)
_DEFAULT_PORT = {"http": 80, "https": 443}
# Parameters that say where the visitor came from or which session this is, never which page.
_TRACKING = re.compile(
    r"utm_\w+|hsa_\w+|mc_[ce]id|_hs\w+|fbclid|gclid|gclsrc|dclid|gbraid|wbraid|msclkid|yclid|twclid|ttclid|igshid|_gl|_ga"
    r"|phpsessid|jsessionid|aspsessionid\w*",
    re.IGNORECASE,
)


class UrlConfig(Config):
    """Block lists, each a file with an entry a line; null is no such list."""

    domains: Path | None = Field(
        default=None,
        description="domains that are blocked with all their subdomains",
        json_schema_extra=why(
            "null: which sites are unwanted is the user's to say, we ship no lists", example="./domains.txt"
        ),
    )
    urls: Path | None = Field(
        default=None,
        description="single pages that are blocked, compared by their keys",
        json_schema_extra=why(
            "null: lists of single pages are the user's own, such as those whose owners object",
            example="./pages.txt",
        ),
    )
    words: Path | None = Field(
        default=None,
        description="words, one of which in an address is enough to block it",
        json_schema_extra=why(
            "null: which words are never innocent depends on language and purpose", example="./words.txt"
        ),
    )
    soft_words: Path | None = Field(
        default=None,
        description="words, two different ones of which in an address block it",
        json_schema_extra=why(
            "null; for words that are harmless alone: FineWeb, too, asks for two", example="./soft-words.txt"
        ),
    )
    substrings: Path | None = Field(
        default=None,
        description="letters that block an address wherever they stand in it, even across its punctuation marks",
        json_schema_extra=why(
            "null; the bluntest of the lists, for names that are part of longer words", example="./parts.txt"
        ),
    )


class UrlFilter:
    """The lists of a config, read once.

    Raises ConfigError for a list that can't be read and for an entry that could never match.
    """

    def __init__(self, config: UrlConfig) -> None:
        self._domains, self._urls, self._words, self._soft_words, self._substrings = (
            block_list(path, kind, form) if path else frozenset()
            for path, kind, form in (
                (config.domains, "domain", _as_domain),
                (config.urls, "address", _as_url),
                (config.words, "single word", _as_word),
                (config.soft_words, "single word", _as_word),
                (config.substrings, "run of letters or digits", _as_substring),
            )
        )

    def rejection(self, url: str) -> str | None:
        """Why an address is blocked, or None."""
        if not self._domains.isdisjoint(_suffixes(_host(_split(url)))):
            return "url: blocked domain"
        if self._urls and _as_url(url) in self._urls:
            return "url: blocked page"
        plain = _plain(url)
        words = set(_WORD.findall(plain))
        if not self._words.isdisjoint(words):
            return "url: blocked word"
        if len(self._soft_words & words) >= 2:
            return "url: two doubtful words"
        letters = _letters(plain)
        if any(part in letters for part in self._substrings):
            return "url: blocked part of a word"
        return None


def url_key(url: str) -> str:
    """Equal for addresses of one page: without scheme (http and https), `www.`, user, default port, fragment,
    parameters that track or name a session, and a slash at the end; with the host in lower case, the other parameters
    sorted by name, and characters escaped only where they must be."""
    parts = _split(url)
    host = re.sub(r"^www\.(?=.*\.)", "", _host(parts))
    scheme = parts.scheme.lower()
    try:
        port = parts.port
    except ValueError:
        port = None
    if port is not None and port != _DEFAULT_PORT.get(scheme):
        host += f":{port}"
    prefix = "" if scheme in ("", *_DEFAULT_PORT) else f"{scheme}://"
    path = _escaped(_SESSION.sub("", parts.path)).rstrip("/")
    parameters = [one for one in parts.query.split("&") if one and not _TRACKING.fullmatch(_name(one))]
    query = "&".join(_escaped(one) for one in sorted(parameters, key=_name))
    return prefix + host + path + ("?" + query if query else "")


def _split(url: str) -> SplitResult:
    url = url.strip()
    if not _SCHEME.match(url) and not url.startswith("//"):
        url = "//" + url
    try:
        return urlsplit(url)
    except ValueError:  # square brackets round what is no IPv6 address
        return urlsplit(url.replace("[", "%5B").replace("]", "%5D"))


def _host(parts: SplitResult) -> str:
    """In lower case and as DNS has it: `münchen.de` is `xn--mnchen-3ya.de`."""
    host = (parts.hostname or "").rstrip(".")
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def _suffixes(host: str) -> Iterator[str]:
    """`a.b.org`, `b.org`, `org`: so a list needs no knowledge of which suffixes are public."""
    return accumulate(reversed(host.split(".")), lambda suffix, label: f"{label}.{suffix}")


def _name(parameter: str) -> str:
    return parameter.partition("=")[0]


def _escaped(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        character = chr(int(match[1], 16))
        return character if _UNRESERVED.match(character) else match[0].upper()

    return _ESCAPE.sub(one, text) if "%" in text else text


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", unquote(text)).lower()


def _letters(plain: str) -> str:
    return "".join(_WORD.findall(plain))


def _as_domain(entry: str) -> str:
    entry = entry.removeprefix("*").removeprefix(".")
    return "" if re.search(r"[/?#@:\s]", entry) else _host(_split(entry))


def _as_url(entry: str) -> str:
    return url_key(entry).lower()


def _as_word(entry: str) -> str:
    plain = _plain(entry)
    return plain if _WORD.fullmatch(plain) else ""


def _as_substring(entry: str) -> str:
    return _letters(_plain(entry))
