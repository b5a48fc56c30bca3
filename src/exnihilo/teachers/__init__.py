"""One interface to whoever writes or judges text."""
