"""Raw text to a curated corpus: reading, extraction, filters, deduplication, the held-out split."""
