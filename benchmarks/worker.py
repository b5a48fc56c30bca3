"""The process that runs one system: `python -m benchmarks.worker MODULE`, asked over stdin, answering on stdout.

A request is a line `{"call": FUNCTION, "arguments": {…}}` and names a function of the module, an answer is a line
`{"result": …}` or `{"error": TRACEBACK}`. It runs in peers' environments too, so it needs the standard library only.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback


def main(module: str) -> None:
    """Answer requests until stdin ends."""
    # What libraries print must not come between the answers: they get stderr for stdout.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    system = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if system is None:
                system = importlib.import_module(module)
            answer = {"result": getattr(system, request["call"])(**request["arguments"])}
        except Exception:  # whatever the library raised is the answer; the harness decides what it means
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
