"""The text of PDF files, page after page, by pypdf (the extra `pdf`)."""

from __future__ import annotations

import io
import logging

from exnihilo.corpus.findings import Found, Skipped
from exnihilo.corpus.sniff import Format


def read_pdf(data: bytes, name: str) -> Found | Skipped:
    """The text that a PDF file holds, a blank line between pages; scans, which hold pictures, have none.

    Skipped without the extra `pdf`, so that one such file in a folder does not stop the rest.
    """
    try:
        import pypdf
        from pypdf.errors import DependencyError, FileNotDecryptedError
    except ImportError:
        return Skipped("no reader for .pdf", f"{name}: pip install 'exnihilo[pdf]'")
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # what it has to say about a file is said here
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        pages = [page.extract_text().strip() for page in reader.pages]
        title = (reader.metadata.title if reader.metadata else None) or ""
    except (FileNotDecryptedError, DependencyError):
        return Skipped("encrypted", name)
    except RecursionError:
        return Skipped("not a whole PDF file", f"{name}: nested without end")
    # pypdf meets broken files with errors of many kinds: its own, KeyError, ValueError, AttributeError …
    except Exception as error:
        return Skipped(
            "not a whole PDF file", f"{name}: {(str(error) or type(error).__name__).splitlines()[0]}"
        )
    text = "\n\n".join(page for page in pages if page).encode("utf-8", "replace").decode()
    if not text:
        return Skipped("no text in the file", f"{name}: {len(pages)} pages without any")
    meta = {"path": name, "pages": len(pages)} | ({"title": title} if title.isprintable() and title else {})
    return Found(text, Format.PDF, meta)
