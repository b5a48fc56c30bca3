"""Compressed files as streams of what is in them, within limits: gzip, bzip2, xz, zstd, told by their first bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from typing import TYPE_CHECKING, BinaryIO, Protocol

import pyarrow as pa

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK = 1 << 16  # bytes of a buffer, and what is looked at to find out what a file holds
ALLOWED = 64 << 20
"""Bytes that may come out of any file, however small it is."""
RATIO = 250
"""Bytes that may come out of each byte read. Text shrinks 3 to 30 times, gzip's bombs 1,000 times, others' more."""

_GZIP, _XZ, _ZSTD = b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"
_BZIP2, _BZIP2_BLOCKS = b"BZh", (b"1AY&SY", b"\x17rE8P\x90")  # the second begins an empty file's end
_FAILURES = (
    EOFError,
    OSError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
    pa.ArrowInvalid,
)


class TooLarge(Exception):
    """More would come out of a file than is allowed; the message says how much."""


class NotWhole(Exception):
    """A file that is cut off or damaged: `kind` is its format, `name` the file, the message what is wrong."""

    def __init__(self, kind: str, name: str, what: str) -> None:
        super().__init__(what)
        self.kind = kind
        self.name = name


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class PackedFile(io.RawIOBase):
    """A file of `size` bytes as it lies, and the account of what came in from it and went out unpacked."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self._came = self._went = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """Whether the file is: an object in a store may not be."""
        return self._stream.seekable()

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place in the file."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """The place in the file."""
        return self._stream.tell()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read bytes of the file as they are."""
        count = _fill(buffer, self._stream)
        self._came += count
        return count

    def unpacked(self, count: int) -> None:
        """Account for bytes that were unpacked. Raises TooLarge once they are too many."""
        self._went += count
        # What is read twice counts once: entries of a zip archive may overlap.
        if self._went > max(ALLOWED, RATIO * min(self._came, self._size)):
            raise TooLarge(
                f"more than {RATIO} bytes come out of each of its bytes, and more than {ALLOWED >> 20} MiB in all"
            )


class _Unpacked(io.RawIOBase):
    def __init__(self, stream: _Readable, kind: str, name: str, account: PackedFile) -> None:
        self._stream, self._kind, self._name, self._account = stream, kind, name, account

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        try:
            count = _fill(buffer, self._stream)
        except _FAILURES as error:
            what = str(error).splitlines()[0] if str(error) else "cut off"
            raise NotWhole(self._kind, self._name, what) from error
        self._account.unpacked(count)
        return count


def _fill(buffer: WriteableBuffer, stream: _Readable) -> int:
    view = memoryview(buffer).cast("B")
    data = stream.read(len(view))
    view[: len(data)] = data
    return len(data)


def open_packed(stream: BinaryIO, size: int) -> tuple[io.BufferedReader, PackedFile]:
    """A file of `size` bytes as a stream that can be looked into (`peek`), and its account."""
    account = PackedFile(stream, size)
    return io.BufferedReader(account, BLOCK), account


def unpack(stream: io.BufferedReader, name: str, account: PackedFile) -> io.BufferedReader:
    """What is in a compressed file, or the stream itself if it is not compressed. One layer is unpacked.

    Reading raises NotWhole where the file is cut off or damaged, and TooLarge where it is a bomb.
    """
    head = stream.peek(BLOCK)
    if head.startswith(_GZIP):
        return _unpacked(gzip.GzipFile(fileobj=stream), "gzip", name, account)
    if head.startswith(_BZIP2) and head[4:10] in _BZIP2_BLOCKS:
        return _unpacked(bz2.BZ2File(stream), "bzip2", name, account)
    if head.startswith(_XZ):
        return _unpacked(lzma.LZMAFile(stream), "xz", name, account)
    if head.startswith(_ZSTD):
        return _unpacked(pa.input_stream(stream, compression="zstd"), "zstd", name, account)
    return stream


def members(stream: _Readable, kind: str, name: str, account: PackedFile) -> io.BufferedReader:
    """A member of an archive as a stream, accounted for like what comes out of any compressed file."""
    return _unpacked(stream, kind, name, account)


def _unpacked(stream: _Readable, kind: str, name: str, account: PackedFile) -> io.BufferedReader:
    return io.BufferedReader(_Unpacked(stream, kind, name, account), BLOCK)
