"""From raw text to an evaluated, aligned chat model: one package, one recipe file."""

__version__ = "0.1.0"
