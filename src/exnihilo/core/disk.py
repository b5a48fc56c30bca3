"""What the disk refuses, as one line that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exnihilo.core.errors import ExnihiloError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_PERMISSION = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def disk_errors_told(what: Path) -> Iterator[None]:
    """Raise ExnihiloError for an OSError that a full disk or missing permission causes in work on `what`.

    What was whole stays whole, and what was under way is there to be continued. Other errors pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise ExnihiloError(f"{what}: no space left; free some and run it again to continue") from error
        if error.errno in NO_PERMISSION:
            raise ExnihiloError(
                f"{error.filename or what}: {error.strerror}; change its permissions, or use another folder"
            ) from error
        raise
