"""LaTeX to text: the body's prose and headings, formulas as their source between dollar signs."""

from __future__ import annotations

import re
import unicodedata

from exnihilo.corpus import latex_names
from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.sniff import Format

_SPACES = {"---": "—", "--": "–", "``": "“", "''": "”", "~": " "}
_TOKEN = re.compile(
    r"%[^\n]*(?:\n[ \t]*)?|\\begin\{(?P<begin>[^{}]*)\}|\\end\{[^{}]*\}|\\verb\*?(?P<bar>[^\s\w])"
    r"|\\(?P<command>[a-zA-Z@]+)\*?[ \t]*|\\(?P<sign>.|\n)|(?P<dollar>\$\$?)|(?P<space>---?|``|''|~)|(?P<brace>[{}])"
)
_BRACE = re.compile(r"\\verb\*?([^\s\w])[^\n]*?\1|\\.|\\\n|%[^\n]*|[{}]")
_OPTION = re.compile(r"\s*\[[^\]\n]{0,200}\]")
_LABEL = re.compile(r"\\label\{[^{}]*\}|%[^\n]*\n?")
_CAPTION = re.compile(r"\\caption\*?\s*(?:\[[^\]\n]*\])?\s*(?=\{)")
_TITLE = re.compile(r"\\title\s*(?:\[[^\]\n]*\])?\s*(?=\{)")
_BODY, _BODY_END = "\\begin{document}", "\\end{document}"
_LONGEST_FORMULA = 20_000  # characters: a dollar sign without its partner is no formula


def read_latex(source: str, name: str) -> Found | Skipped:
    """The text of a LaTeX file, with the title that it states in `meta`; preamble, comments and figures are left out.

    A file without `\\begin{document}`, a chapter of a book perhaps, is read whole.
    """
    title = ""
    stated = _TITLE.search(source)
    if stated is not None:
        whole = _Scan(source)
        title = " ".join(whole.run(stated.end(), whole.group_end(stated.end())).split())
    start = source.find(_BODY)
    if start >= 0:
        end = source.find(_BODY_END, start)
        source = source[start + len(_BODY) : end if end >= 0 else len(source)]
    text = _tidy(_Scan(source).run(0, len(source)))
    if not text:
        return Skipped("no text in the file", name)
    return Found(text, Format.LATEX, {"path": name} | ({"title": title} if title else {}))


def _tidy(text: str) -> str:
    text = re.sub(r"[ \t]{2,}", " ", text)
    text = re.sub(r"(?<=\S) (?=[.,;:)])", "", text)  # where a citation stood
    text = "\n".join(line.strip() for line in text.split("\n"))
    return unicodedata.normalize("NFC", re.sub(r"\n{3,}", "\n\n", text)).strip()


class _Scan:
    """One pass over a source, in time linear in its length whatever is left open in it."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._ends = _matching_braces(source)
        self._nowhere: set[str] = set()  # marks that do not come any more

    def group_end(self, at: int) -> int:
        """The place after the group in braces that begins at a place; the place itself where none does."""
        return self._ends.get(at, at)

    def run(self, at: int, end: int) -> str:
        """The text of a part of the source."""
        out: list[str] = []
        closing: list[str] = []  # what the end of each open group adds
        while (found := _TOKEN.search(self._source, at, end)) is not None:
            out.append(self._source[at : found.start()])
            at = found.end()
            if found["begin"] is not None:
                at = self._environment(found["begin"], at, out)
            elif found["bar"]:
                at = self._until(found["bar"], at, out, "", "")
            elif found["command"]:
                at = self._command(found["command"], at, out, closing)
            elif found["sign"]:
                at = self._sign(found["sign"], at, out)
            elif found["dollar"]:
                at = self._until(found["dollar"], at, out, found["dollar"], found["dollar"])
            elif found["space"]:
                out.append(_SPACES[found["space"]])
            elif found["brace"] == "{":
                closing.append("")
            elif found["brace"] and closing:
                out.append(closing.pop())
        out.append(self._source[at:end])
        return "".join(out)

    def _environment(self, name: str, at: int, out: list[str]) -> int:
        closing = f"\\end{{{name}}}"
        if name in latex_names.FORMULAS:
            return self._until(closing, at, out, "\n$$", "$$\n")
        if name in latex_names.VERBATIM:
            option = _OPTION.match(self._source, at)
            return self._until(closing, option.end() if option else at, out, "\n", "\n")
        if name in latex_names.DROPPED:
            end = self._find(closing, at)
            if end is None:
                return at
            for caption in _CAPTION.finditer(self._source, at, end):
                out += ["\n\n", self.run(caption.end(), min(self.group_end(caption.end()), end)), "\n\n"]
            return end + len(closing)
        option = _OPTION.match(self._source, at)
        at = option.end() if option else at
        out.append("\n")
        return self.group_end(at) if name in latex_names.ENVIRONMENTS_WITH_ARGUMENT else at

    def _command(self, name: str, at: int, out: list[str], closing: list[str]) -> int:
        if name in ("def", "gdef", "edef", "let"):
            brace = re.compile(r"[^{\n]*").match(self._source, at)
            return self.group_end(brace.end()) if brace else at
        if name in latex_names.SILENT:
            return self._arguments(at)
        if name in latex_names.ACCENTS:
            return self._accent(latex_names.ACCENTS[name], at, out)
        option = _OPTION.match(self._source, at) if name != "item" else None
        at = option.end() if option else at
        if name in latex_names.SECOND:
            return self.group_end(at)
        out.append(latex_names.SIGNS.get(name, ""))
        if self._source.startswith("{", at) and (
            name in latex_names.HEADINGS or name in ("footnote", "caption")
        ):
            before, after = (" (", ")") if name == "footnote" else ("\n\n", "\n\n")
            out.append(before)
            closing.append(after)
            return at + 1
        return at

    def _sign(self, sign: str, at: int, out: list[str]) -> int:
        if sign in "([":
            closing = {"(": "\\)", "[": "\\]"}[sign]
            dollars = {"(": "$", "[": "$$"}[sign]
            return self._until(closing, at, out, dollars, dollars)
        if sign in latex_names.ACCENTS:
            return self._accent(latex_names.ACCENTS[sign], at, out)
        if sign == "\\":
            out.append("\n")
            option = _OPTION.match(self._source, at)
            return option.end() if option else at
        out.append(
            {"-": "", "/": "", "!": "", "@": "", ",": " ", ";": " ", ":": " ", ">": " "}.get(sign, sign)
        )
        return at

    def _accent(self, mark: str, at: int, out: list[str]) -> int:
        found = re.compile(r"\s*(?:\{\s*\\?([^\W\d_])\s*\}|\\?([^\W\d_])(?![^\W\d_])|([^\W\d_]))").match(
            self._source, at
        )
        if found is None:
            return at
        out.append((found[1] or found[2] or found[3]) + mark)
        return found.end()

    def _arguments(self, at: int) -> int:
        """The place after all the options and groups that follow."""
        while True:
            option = _OPTION.match(self._source, at)
            after = option.end() if option else self.group_end(at)
            if after == at:
                return at
            at = after

    def _until(self, closing: str, at: int, out: list[str], before: str, after: str) -> int:
        """Take the source up to a mark as it is; where the mark does not come, only the place."""
        end = self._find(closing, at)
        if end is None or (before.startswith("$") and end - at > _LONGEST_FORMULA):
            return at
        body = self._source[at:end]
        if "$" in before:
            body = _LABEL.sub("", body)
        out += [before, body.strip() if "$" in before else body, after]
        return end + len(closing)

    def _find(self, mark: str, at: int) -> int | None:
        if mark in self._nowhere:
            return None
        end = self._source.find(mark, at)
        while mark.startswith("$") and end > 0 and self._source[end - 1] == "\\":
            end = self._source.find(mark, end + 1)
        if end < 0:
            self._nowhere.add(mark)
            return None
        return end


def _matching_braces(source: str) -> dict[int, int]:
    """{place of an opening brace: place after its closing one}."""
    ends: dict[int, int] = {}
    stack: list[int] = []
    for found in _BRACE.finditer(source):
        if found[0] == "{":
            stack.append(found.start())
        elif found[0] == "}" and stack:
            ends[stack.pop()] = found.end()
    return ends
