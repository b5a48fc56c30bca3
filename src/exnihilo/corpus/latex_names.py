"""The commands and environments of LaTeX, by what becomes of them in text."""

from __future__ import annotations


def _names(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


# Environments of code, pictures and bookkeeping.
DROPPED = _names(
    "figure figure* table table* tabular tabular* tabularx longtable tikzpicture pspicture picture pgfpicture"
    " thebibliography filecontents filecontents* algorithm algorithmic comment CCSXML wrapfigure"
)
FORMULAS = _names(
    "equation equation* align align* gather gather* multline multline* eqnarray eqnarray* displaymath math"
    " flalign flalign* alignat alignat*"
)
VERBATIM = _names("verbatim verbatim* Verbatim lstlisting minted alltt")
HEADINGS = _names("part chapter section subsection subsubsection paragraph subparagraph title")
# Commands whose argument is a name, a length or a place, not text.
SILENT = _names(
    "label ref eqref pageref autoref cref Cref nameref vref cite citep citet citeauthor citeyear citealp parencite"
    " textcite autocite footcite nocite input include includegraphics bibliography bibliographystyle usepackage"
    " documentclass vspace hspace setlength addtolength pagestyle thispagestyle setcounter addcontentsline index"
    " glossary hypersetup graphicspath newcommand renewcommand providecommand newtheorem DeclareMathOperator def"
    " author date thanks affil affiliation email address institute color pagenumbering rule phantom hphantom vphantom"
    " markboth thicklines footnotemark fontsize selectlanguage addbibresource printbibliography bibitem"
)
SIGNS = {
    "ldots": "…", "dots": "…", "textellipsis": "…", "LaTeX": "LaTeX", "TeX": "TeX", "textbackslash": "\\", "ss": "ß",
    "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø", "aa": "å", "AA": "Å", "l": "ł", "L": "Ł",
    "i": "ı", "S": "§", "P": "¶", "copyright": "©", "pounds": "£", "euro": "€", "textendash": "–", "textemdash": "—",
    "par": "\n\n", "newline": "\n", "quad": " ", "qquad": " ", "item": "\n• ", "textasciitilde": "~",
    "textquotedblleft": "“", "textquotedblright": "”", "maketitle": "", "newpage": "\n\n",
    "clearpage": "\n\n", "and": ", ",
}  # fmt: skip
ACCENTS = {
    "'": "\u0301", "`": "\u0300", "^": "\u0302", '"': "\u0308", "~": "\u0303", "=": "\u0304", ".": "\u0307",
    "u": "\u0306", "v": "\u030c", "H": "\u030b", "c": "\u0327", "k": "\u0328", "r": "\u030a", "d": "\u0323",
    "b": "\u0331",
}  # fmt: skip

# Commands of which the first argument is no text, and the next one is.
SECOND = _names("href textcolor colorbox foreignlanguage raisebox scalebox resizebox parbox multicolumn")
ENVIRONMENTS_WITH_ARGUMENT = _names("minipage multicols spacing adjustbox")
