"""A process that can do no harm."""
