"""The text of PDF files, which the test writes itself."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest

from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.reader import read_file


def pdf(*pages: str) -> bytes:
    """A PDF file with a line of text on each page, in a font that every reader has."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for i, text in enumerate(pages):
        drawn = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET" if text else ""
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {5 + 2 * i} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>",
            f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream",
        ]
    objects.append("<< /Title (Sand) >>")
    out, offsets = "%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{at:010d} 00000 n \n" for at in offsets)
    size = len(objects) + 1
    trailer = f"trailer\n<< /Size {size} /Root 1 0 R /Info {size - 1} 0 R >>\nstartxref\n{len(out)}\n%%EOF"
    return f"{out}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode()


def read(tmp_path: Path, data: bytes) -> Found | Skipped:
    (tmp_path / "a.pdf").write_bytes(data)
    (found,) = read_file(tmp_path / "a.pdf", "a.pdf")
    return found


def test_pages_in_order(tmp_path: Path) -> None:
    found = read(tmp_path, pdf("The first page.", "", "The third page."))
    assert found == Found(
        "The first page.\n\nThe third page.", "PDF", {"path": "a.pdf", "pages": 3, "title": "Sand"}
    )


def test_a_scan_and_damaged_files(tmp_path: Path) -> None:
    assert read(tmp_path, pdf("")) == Skipped("no text in the file", "a.pdf: 1 pages without any")
    for data in (b"%PDF-1.7", pdf("text")[:200], b"%PDF-1.7 " + bytes(range(256)) * 9):
        found = read(tmp_path, data)
        assert isinstance(found, Skipped) and found.reason in ("not a whole PDF file", "no text in the file")


def test_without_the_extra_the_line_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("pypdf"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    assert read(tmp_path, pdf("text")) == Skipped("no reader for .pdf", "a.pdf: pip install 'exnihilo[pdf]'")
