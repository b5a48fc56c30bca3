"""Bits per byte, accuracy on held-out items, paired comparisons of models; every score has its interval."""
