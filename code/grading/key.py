"""The class key: a secret number from which all that differs between classes is derived.

The masters of the problem sets are public. What keeps last year's answers, and those of the
public demonstration, worthless is this key alone. So it is random, has at least 128 bits, is kept
outside the repository, and goes only through HMAC-SHA256 before anything is shown.

``python -m grading.key`` makes one.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import numpy as np

__all__ = ["DEMONSTRATION", "ClassKeyError", "from_environment", "make", "read", "rng", "tag"]

#: Stands in where no key is given. It is public, so it protects nothing, and what is made with it
#: says so.
DEMONSTRATION = bytes.fromhex("68696572617263686963616c20646563")
BITS = 128
HOW_TO = "make one with: python -m grading.key"


class ClassKeyError(ValueError):
    """What was given as the class key is none."""


def make() -> str:
    """Make a new key: 128 random bits, as 32 hexadecimal digits."""
    return secrets.token_hex(BITS // 8)


def read(text: str) -> bytes:
    """Read a key.

    Parameters
    ----------
    text : str
        At least 32 hexadecimal digits; blanks around them do not count.

    Returns
    -------
    bytes
        The key.

    Raises
    ------
    ClassKeyError
        If it is too short, has other characters, or so few different digits that it cannot have
        been drawn at random. The message never repeats the key.
    """
    digits = text.strip().lower()
    if not digits:
        raise ClassKeyError(f"the class key is empty; {HOW_TO}")
    if not set(digits) <= set("0123456789abcdef"):
        raise ClassKeyError(f"the class key has characters that are not hexadecimal; {HOW_TO}")
    if len(digits) * 4 < BITS:
        raise ClassKeyError(
            f"the class key has {len(digits)} hexadecimal digits, and needs {BITS // 4} "
            f"({BITS} bits); {HOW_TO}"
        )
    if len(digits) % 2:
        raise ClassKeyError(f"the class key has an odd number of hexadecimal digits; {HOW_TO}")
    # 32 random digits show fewer than 8 different ones once in four million keys.
    if len(set(digits)) < 8:
        raise ClassKeyError(f"the class key does not look random; {HOW_TO}")
    return bytes.fromhex(digits)


def from_environment(environment: Mapping[str, str] = os.environ) -> bytes:
    """Take the key from ``CLASS_KEY``, or from the file that ``CLASS_KEY_FILE`` names.

    A command line can be read by everyone on the machine; the environment and a file cannot.

    Parameters
    ----------
    environment : mapping
        The environment.

    Returns
    -------
    bytes
        The key; the public one for demonstrations if neither variable is set.

    Raises
    ------
    ClassKeyError
        If what is given is no key, or both are given, or the file cannot be read.
    """
    given = environment.get("CLASS_KEY")
    file = environment.get("CLASS_KEY_FILE")
    if given and file:
        raise ClassKeyError("give CLASS_KEY or CLASS_KEY_FILE, not both")
    if file:
        try:
            given = Path(file).read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise ClassKeyError(f"cannot read the class key from {file}: {error}") from None
    elif not given:
        return DEMONSTRATION
    return read(given)


def _digest(key: bytes, purpose: str) -> bytes:
    return hmac.new(key, purpose.encode(), hashlib.sha256).digest()


def rng(key: bytes, purpose: str) -> np.random.Generator:
    """Make the random generator of one purpose, such as the numbers of a set.

    Parameters
    ----------
    key : bytes
        The class key.
    purpose : str
        Another purpose gives unrelated numbers.

    Returns
    -------
    numpy.random.Generator
        The same for the same key and purpose.
    """
    return np.random.default_rng(int.from_bytes(_digest(key, f"numbers of {purpose}")))


def tag(key: bytes, purpose: str) -> str:
    """Make the mark by which a notebook is told to belong to a class; the key cannot be found.

    Parameters
    ----------
    key : bytes
        The class key.
    purpose : str
        Name of the set.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    return _digest(key, f"tag of {purpose}").hex()[:16]


if __name__ == "__main__":
    print(make())
