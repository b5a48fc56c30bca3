"""LaTeX as text."""

from __future__ import annotations

import time

import pytest

from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.latex import read_latex

PAPER = r"""\documentclass[11pt]{article} % a comment
\usepackage{amsmath}
\newcommand{\R}{\mathbb{R}}
\title[Short]{Rivers and \emph{Sand}}
\author{A. Author\thanks{Somewhere}}
\begin{document}
\maketitle
\begin{abstract}
Rivers carry 50\% of the sand~\cite{a,b}. % hidden
\end{abstract}
\section{Introduction}\label{sec:intro}
The flow $v > 0$ is \textbf{fast}, see \cite[p.~3]{c}.
Stra\ss e, caf\'e, \"{o}, \c{c}, na\"{\i}ve --- ``quoted'' 1--2.
\begin{equation}\label{eq:1}
  q = v \cdot a % area
\end{equation}
%\section{Gone}
\begin{figure}[t]
  \includegraphics[width=3cm]{river.pdf}
  \caption{A river in \textit{spring}.}\label{fig:1}
\end{figure}
\begin{itemize}
  \item first \footnote{A note.}
  \item[Second] thing
\end{itemize}
\begin{verbatim}
100% {raw} \code
\end{verbatim}
Also \verb|a_b%c| and \[ x^2 \] and \(y\), \href{http://a.org}{a link}.
\begin{tabular}{ll} a & b \\ \end{tabular}
\bibliographystyle{plain}
\begin{thebibliography}{9} \bibitem{a} Gone. \end{thebibliography}
\end{document}
After the end.
"""


def test_a_paper() -> None:
    found = read_latex(PAPER, "a.tex")
    assert isinstance(found, Found)
    assert found.meta == {"path": "a.tex", "title": "Rivers and Sand"}
    assert found.text == (
        "Rivers carry 50% of the sand.\n\nIntroduction\n\n"
        "The flow $v > 0$ is fast, see.\n"
        "Straße, café, ö, ç, naïve — “quoted” 1–2.\n\n"
        "$$q = v \\cdot a$$\n\n"
        "A river in spring.\n\n"
        "• first (A note.)\n\n• [Second] thing\n\n"
        "100% {raw} \\code\n\n"
        "Also a_b%c and $$x^2$$ and $y$, a link."
    )


def test_a_chapter_without_a_preamble_is_read_whole() -> None:
    found = read_latex("\\chapter{One}\nText of it.", "a.tex")
    assert isinstance(found, Found) and found.text == "One\n\nText of it."


def test_nothing_but_commands() -> None:
    assert read_latex("\\documentclass{x}\\begin{document}\\end{document}", "a") == Skipped(
        "no text in the file", "a"
    )


@pytest.mark.parametrize(
    "piece", ["{", "\\cite{", "$a", "\\begin{equation}", "\\[", "\\verb|", "\\item[", " ", "\\'"]
)
def test_time_is_linear_whatever_is_left_open(piece: str) -> None:
    start = time.process_time()
    read_latex("\\begin{document}" + piece * 100_000 + "text", "a.tex")
    assert time.process_time() - start < 3
