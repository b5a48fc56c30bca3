"""Every failure that a user can cause or meet, with the exit code that the command line returns for it."""

from __future__ import annotations

import signal


class ExnihiloError(Exception):
    """A failure whose message says in one line what is wrong, where, and what to do."""

    exit_code = 1


class ConfigError(ExnihiloError):
    """Wrong usage or configuration. Several problems may be found at once: one line each in `str(error)`."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class MissingExtra(ConfigError):
    """An optional dependency is needed that is not installed."""

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(f"{needed_for} needs the extra {extra!r}: pip install 'exnihilo[{extra}]'")
        self.extra = extra


class Refused(ExnihiloError):
    """Refused before starting: bad data, an altered artifact, or something that does not fit."""

    exit_code = 3


class OutOfMemory(ExnihiloError):
    """Memory ran out and retrying with less did not help."""

    exit_code = 4


class Diverged(ExnihiloError):
    """Training diverged, and again after going back to a good checkpoint with smaller steps."""

    exit_code = 5


class NotFinite(ExnihiloError):
    """A model's outputs are NaN or infinite: its weights are broken. Training skips the step and may go back."""


class Interrupted(ExnihiloError):
    """Stopped by a signal, with everything saved that is needed to continue; exit code 128 + signal."""

    def __init__(self, signal_number: int) -> None:
        name = signal.Signals(signal_number).name
        super().__init__(f"interrupted by {name}; run the same command again to continue")
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number
