"""Byte-level BPE: training, the Hugging Face folder, the chat template and its one renderer, measures."""
