"""WebDataset shards: refused unless they are whole, and read with every file of a row as the bytes it is.

The library turns a row's texts and JSON into values while it reads, so that one broken caption would end the whole shard.
"""

import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, ClassVar, cast

from datasets.packaged_modules.webdataset.webdataset import WebDataset

_END = bytes(2 * tarfile.BLOCKSIZE)
"""What ends an archive (POSIX.1-2017, pax, "ustar Interchange Format"): two blocks of zeros, or more of them."""


class Shards(WebDataset):  # type: ignore[misc]  # the library has no types
    DECODERS: ClassVar[Mapping[str, Any]] = {}


def has_rows(path: Path) -> bool:
    """Raises ReadError for an archive that was cut off, EOFError where a compressed one was.

    Reading notices a cut inside a file. Cut between two files or in a header it reads like a shorter one, and only its tail tells: of a
    compressed one all is unpacked to look at that.
    """
    with tarfile.open(path) as shard:
        has_any = shard.next() is not None
        file = cast(IO[bytes], shard.fileobj)
        file.seek(max(0, file.seek(0, os.SEEK_END) - len(_END)))
        if file.read() != _END:
            raise tarfile.ReadError("it is cut off: a whole archive ends with two blocks of zeros")
    return has_any
