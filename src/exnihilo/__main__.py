"""`python -m exnihilo` is the command `exnihilo`."""

from __future__ import annotations

import sys

from exnihilo.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
