"""An environment of its own for each peer, made on first use from its pinned list `benchmarks/peers/<name>.txt`."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from exnihilo.core.errors import ConfigError, ExnihiloError

LISTS = Path(__file__).parent / "peers"
CACHE = Path(__file__).parent / ".cache"


def cache_folder(folder: Path = CACHE) -> Path:
    """Where environments, compiled code and logs are kept; git ignores it."""
    folder.mkdir(parents=True, exist_ok=True)
    ignored = folder / ".gitignore"
    if not ignored.exists():
        ignored.write_text("*\n", encoding="ascii")
    return folder


def peer_python(name: str, *, lists: Path = LISTS, cache: Path = CACHE) -> Path:
    """The interpreter of the environment with what `<name>.txt` lists; made if there is none of this very list.

    Another process that makes the same one is waited for.

    Raises:
        ConfigError: there is no such list.
        ExnihiloError: venv or pip failed; the message names the log.
    """
    wanted = lists / f"{name}.txt"
    if not wanted.is_file():
        known = ", ".join(sorted(path.stem for path in lists.glob("*.txt")))
        raise ConfigError(f"{wanted}: no such list of packages; there are {known or 'none'}")
    environments = cache_folder(cache) / "environments"
    environments.mkdir(exist_ok=True)
    home = environments / name
    python = home / "bin" / "python"
    stamp = home / "list.sha256"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(wanted.read_bytes() + version.encode()).hexdigest()
    with (environments / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.is_file() and stamp.read_text(encoding="ascii") == digest and python.exists():
            return python
        print(f"making the environment of {name} (minutes, once)", file=sys.stderr, flush=True)
        shutil.rmtree(home, ignore_errors=True)
        log = environments / f"{name}.log"
        log.unlink(missing_ok=True)
        _logged([sys.executable, "-m", "venv", "--without-pip", str(home)], log)
        pip = [sys.executable, "-m", "pip", "--python", str(python)]
        _logged([*pip, "install", "--no-input", "-r", str(wanted)], log)
        # Last, so that an environment that was cut short is made again.
        stamp.write_text(digest, encoding="ascii")
    return python


def _logged(command: list[str], log: Path) -> None:
    with log.open("ab") as out:
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False).returncode
    if code != 0:
        lines = [
            line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
        ]
        errors = [line for line in lines if line.lower().startswith("error")] or lines or ["no output"]
        raise ExnihiloError(f"python {' '.join(command[1:3])} … failed: {errors[-1]}; all of it is in {log}")
