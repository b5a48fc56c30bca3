"""Wikitext to plain text, in one pass whose time is linear in the page, whatever is left open in it.

Templates, tables, references, comments, files and categories go; links and emphasis become their text, headings
stay, and so do formulas and code. Sections that list sources instead of telling something are left out.
"""

from __future__ import annotations

import html
import re

from exnihilo.corpus import wiki_names

_TOKEN = re.compile(
    r"<!--|<(?P<close>/?)(?P<tag>[a-zA-Z]+)(?P<rest>[^<>]*)>|(?P<open>\{\{+)|(?P<shut>\}\}+)"
    r"|(?P<link>\[\[)|(?P<unlink>\]\])|(?P<table>^[ \t:*]*\{\|)|(?P<endtable>^[ \t]*\|\}(?!\}))",
    re.MULTILINE,
)
_COMMENT_END = re.compile("-->")
_CLOSING = {
    tag: re.compile(rf"</{tag}\s*>", re.IGNORECASE) for tag in wiki_names.DROPPED | wiki_names.VERBATIM
}
_QUOTES = re.compile(r"'{2,}")
_EXTERNAL = re.compile(r"\[(?:https?:)?//[^\s\[\]]*(?: ([^\[\]\n]*))?\]")
_SWITCH = re.compile(r"__[A-Z]+__")
_LANGUAGE_LINK = re.compile(r"[a-z]{2,3}(?:-[a-z]+)*:")
_HELD = re.compile("\0(\\d+)\0")
# What is longer or deeper than this is no phrase in a sentence. Without limits the text would be copied once a level.
_PHRASE = 1000
_DEEPEST_LINK = 10


def plain_text(wikitext: str, language: str = "en", not_text: frozenset[str] = frozenset()) -> str:
    """The text of a page. `not_text`: the site's names of the namespaces of files and categories, in lower case."""
    scan = _Scan(wikitext.replace("\0", ""), wiki_names.NOT_TEXT | not_text)
    text = _EXTERNAL.sub(lambda found: found.group(1) or "", scan.run())
    text = _SWITCH.sub("", _QUOTES.sub(lambda run: "'" * max(len(run[0]) - 5, len(run[0]) == 4), text))
    listing = wiki_names.LISTING_SECTIONS.get(language, wiki_names.LISTING_SECTIONS["en"])
    text = html.unescape("\n".join(_lines(text.split("\n"), listing)))
    text = _HELD.sub(lambda found: scan.held[int(found[1])], text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def _lines(lines: list[str], listing: frozenset[str]) -> list[str]:
    kept: list[str] = []
    headings: list[tuple[int, str]] = []  # of sections in which nothing has been found yet
    left_out = 0  # the level of the section that is left out
    for line in lines:
        line = line.strip()
        level = _level(line)
        if level:
            title = line[level:-level].strip()
            if left_out and level > left_out:
                continue
            left_out = level if title.lower() in listing else 0
            headings = [one for one in headings if one[0] < level]
            if not left_out:
                headings.append((level, title))
        elif not left_out and not line.startswith(("|", "----")):
            line = _item(line)
            if line and headings:
                kept += [part for _, title in headings for part in ("", title, "")]
                headings = []
            kept.append(line)
    return kept


def _level(line: str) -> int:
    """The level of a heading, 0 for another line."""
    if not line.startswith("=") or not line.endswith("=") or len(line) < 3:
        return 0
    return min(len(line) - len(line.lstrip("=")), len(line) - len(line.rstrip("=")), 6)


def _item(line: str) -> str:
    body = line.lstrip("*#:;").strip()
    return f"• {body}" if body and line.startswith(("*", "#")) else body


class _Scan:
    """The pass over a page: a stack of what is open, each with the text found in it so far."""

    def __init__(self, source: str, not_text: frozenset[str]) -> None:
        self._source = source
        self._not_text = not_text
        self._stack: list[tuple[str, list[str]]] = [("", [])]
        self._open = {"{{": 0, "[[": 0, "{|": 0}
        self._unclosed: set[str] = set()  # elements that are closed nowhere after here
        self.held: list[str] = []  # verbatim text, for which "\0number\0" stands

    def run(self) -> str:
        """The text, with its lines, lists and headings still marked. What was never closed is text."""
        at = 0
        while found := _TOKEN.search(self._source, at):
            self._add(self._source[at : found.start()])
            at = self._read(found)
        self._add(self._source[at:])
        return "".join(piece for _, pieces in self._stack for piece in pieces)

    def _read(self, found: re.Match[str]) -> int:
        """Take in one token; where to go on."""
        if found["tag"]:
            return self._element(found)
        if found["open"]:
            for _ in range(len(found["open"]) // 2):
                self._push("{{")
        elif found["shut"]:
            for _ in range(len(found["shut"]) // 2):
                if self._open["{{"]:
                    self._add(_of_template(self._pop("{{")))
        elif found["link"]:
            if self._open["[["] < _DEEPEST_LINK:
                self._push("[[")
        elif found["unlink"]:
            if self._stack[-1][0] == "[[":
                self._add(self._of_link("".join(self._pop("[["))))
        elif found["table"]:
            self._push("{|")
        elif found["endtable"]:
            if self._open["{|"]:
                self._pop("{|")
        else:
            return self._after("comment", _COMMENT_END, found.end())[1]
        return found.end()

    def _element(self, found: re.Match[str]) -> int:
        tag = found["tag"].lower()
        if tag == "br":
            self._add("\n")
        if found["close"] or found["rest"].endswith("/") or tag not in _CLOSING:
            return found.end()
        end, after = self._after(tag, _CLOSING[tag], found.end())
        if tag in wiki_names.VERBATIM and end > found.end():
            body = html.unescape(self._source[found.end() : end])
            self._add(f"\0{len(self.held)}\0")
            self.held.append(f"${body.strip()}$" if tag == "math" else body)
        return after

    def _after(self, tag: str, closing: re.Pattern[str], at: int) -> tuple[int, int]:
        """Where the end of an element begins and ends; for one without an end, it is only a mark."""
        found = None if tag in self._unclosed else closing.search(self._source, at)
        if found is None:
            self._unclosed.add(tag)
            return at, at
        return found.start(), found.end()

    def _add(self, text: str) -> None:
        if text:
            self._stack[-1][1].append(text)

    def _push(self, kind: str) -> None:
        self._stack.append((kind, []))
        self._open[kind] += 1

    def _pop(self, kind: str) -> list[str]:
        """What the last open `kind` holds; what was opened in it and is still open goes."""
        while True:
            top, pieces = self._stack.pop()
            self._open[top] -= 1
            if top == kind:
                return pieces

    def _of_link(self, inside: str) -> str:
        target, _, text = inside.partition("|")
        target = target.strip()
        space, colon, _ = target.partition(":")
        if (colon and space.strip().lower() in self._not_text) or (_LANGUAGE_LINK.match(target) and not text):
            return ""
        return text.rpartition("|")[2] if text else target.removeprefix(":")


def _of_template(pieces: list[str]) -> str:
    if sum(map(len, pieces)) > _PHRASE:
        return ""
    name, *given = "".join(pieces).split("|")
    name = name.strip().lower()
    if name in ("convert", "cvt"):
        return " ".join(given[:2])
    index = wiki_names.TEXT_TEMPLATES.get(name, 0)
    return given[index - 1] if 0 < index <= len(given) else wiki_names.SIGN_TEMPLATES.get(name, "")
