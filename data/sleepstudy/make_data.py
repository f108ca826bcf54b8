"""Rebuild `sleepstudy.csv` from the Debian package of lme4.

Run it as ``python make_data.py path/to/package.deb``; README.md says where the
package comes from, and explains each step. R is not needed: the table lies in
a lazy-load database, an index and a file of compressed objects in R's own
serialization (chapters 1.8 and 2.5 of the manual "R Internals"), of which this
script reads the few types that occur in a table.
"""

import gzip
import hashlib
import io
import lzma
import struct
import sys
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import survey

PACKAGE = "r-cran-lme4_1.1-31-1_amd64.deb"
PACKAGE_SHA256 = "232c90c0504309ee64749af8ca8359e999a00e6dc0c1abf697640f1c16ecb4aa"
FOLDER = "./usr/lib/R/site-library/lme4/data"

# Types of R objects, as `R Internals`, section 1.1 numbers them.
PAIRS, TEXT, TRUTHS, INTEGERS, NUMBERS, WORDS, LIST = 2, 9, 10, 13, 14, 16, 19
SYMBOL, NOTHING, REFERENCE = 1, 254, 255


def files(package: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file in the folder of data: an `ar` around a `tar`."""
    place = len(b"!<arch>\n")
    while place < len(package):
        header = package[place : place + 60]
        size = int(header[48:58])
        start = place + 60
        if header[:16].strip() == b"data.tar.xz":
            content = lzma.decompress(package[start : start + size])
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                for member in archive:
                    if member.isfile() and member.name.startswith(f"{FOLDER}/"):
                        yield member.name.rpartition("/")[2], _content(archive, member)
        place = start + size + size % 2


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    if file is None:
        raise ValueError(f"{member.name} is no file")
    return file.read()


class Reader:
    """Reads an object in R's serialization, version 3, big-endian."""

    def __init__(self, content: bytes) -> None:
        self.stream = io.BytesIO(content)
        self.symbols: list[str] = []
        if self.stream.read(2) != b"X\n":
            raise ValueError("not a serialized object of R")
        if self.whole() != 3:
            raise ValueError("not version 3 of R's serialization")
        self.stream.read(8)  # versions of R
        self.stream.read(self.whole())  # encoding

    def whole(self) -> int:
        """Read a whole number."""
        return struct.unpack(">i", self.stream.read(4))[0]

    def read(self) -> Any:
        """Read an object: a list of values, or a dictionary of "values" and its attributes."""
        flags = self.whole()
        kind, has_attributes = flags & 255, bool(flags & 512)
        if kind == NOTHING:
            return None
        if kind == REFERENCE:
            return self.symbols[(flags >> 8) - 1]
        if kind == SYMBOL:
            self.symbols.append(self.read())
            return self.symbols[-1]
        if kind == PAIRS:
            return self.pairs(flags)
        if kind == TEXT:
            length = self.whole()
            return None if length < 0 else self.stream.read(length).decode()
        if kind not in (TRUTHS, INTEGERS, NUMBERS, WORDS, LIST):
            raise ValueError(f"an R object of type {kind} in the table")
        length = self.whole()
        if kind in (TRUTHS, INTEGERS, NUMBERS):
            code, width = ("d", 8) if kind == NUMBERS else ("i", 4)
            values = list(struct.unpack(f">{length}{code}", self.stream.read(width * length)))
        else:
            values = [self.read() for _ in range(length)]
        return {"values": values, **self.read()} if has_attributes else values

    def pairs(self, flags: int) -> dict[str, Any]:
        """Read pairs of names and objects, such as attributes."""
        found = {}
        while flags & 255 == PAIRS:
            name = self.read()
            found[name] = self.read()
            flags = self.whole()
        return found


def build(package: bytes) -> pd.DataFrame:
    """Build the table from the content of the package."""
    found = dict(files(package))
    index = Reader(gzip.decompress(found["Rdata.rdx"])).read()
    variables = dict(zip(index["names"], index["values"], strict=True))["variables"]
    where = dict(zip(variables["names"], variables["values"], strict=True))
    start, length = where["sleepstudy"]
    # Four bytes with the size of the object, and then the object, compressed.
    table = Reader(zlib.decompress(found["Rdata.rdb"][start + 4 : start + length])).read()
    columns = dict(zip(table["names"], table["values"], strict=True))
    subject = columns["Subject"]
    return pd.DataFrame(
        {
            "subject": [int(subject["levels"][code - 1]) for code in subject["values"]],
            "days": [int(day) for day in columns["Days"]],
            "reaction": columns["Reaction"],
        }
    )


def main() -> None:
    """Write the table beside this script."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: python make_data.py path/to/{PACKAGE}")
    package = Path(sys.argv[1]).read_bytes()
    sha256 = hashlib.sha256(package).hexdigest()
    if sha256 != PACKAGE_SHA256:
        sys.exit(f"sha256 of the package is {sha256}, expected {PACKAGE_SHA256}")
    survey.write(build(package), __file__)


if __name__ == "__main__":
    main()
