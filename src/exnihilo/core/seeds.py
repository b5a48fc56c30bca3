"""Seeds: one number for a run, and an independent stream for every use of it."""

from __future__ import annotations

from blake3 import blake3


def derive(seed: int, *names: str | int) -> int:
    """The seed of the stream `names` of `seed`, in [0, 2**63): `derive(seed, "init")`, `derive(seed, 7)`.

    Each part is hashed with its type and length, so that ("a", "bc") and ("ab", "c") differ, as 1 and "1" do.
    63 bits fit a signed 64-bit integer, which `torch.manual_seed`, numpy and Arrow all take.
    """
    digest = blake3()
    for part in (seed, *names):
        text = str(part).encode()
        digest.update(b"%b%d:" % (b"i" if isinstance(part, int) else b"s", len(text)))
        digest.update(text)
    return int.from_bytes(digest.digest()[:8], "big") >> 1
