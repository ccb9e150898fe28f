"""Where results are kept: a local folder, or a place in an object store that is used like one.

``location("results/mine")`` is a ``Path``; ``location("s3://bucket/prefix")``, or any other address that
``pyarrow.fs`` knows, is a ``Remote`` with the few operations of a path that a results folder needs. An object
of a store is written whole or not at all, which is what ``parts.write_atomic`` brings about on a disk.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from ebmark.errors import StoreError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LONGEST = 255  # bytes of a name on the file systems there are


@dataclass(frozen=True)
class Remote:
    """A place in an object store; its text is its address, without credentials.

    Attributes:
        scheme: of the address, with what stands before the path: ``s3://``.
        path: inside the file system.
        query: of the address, with its question mark, or "".
        system: the ``pyarrow.fs.FileSystem``.
    """

    scheme: str
    path: str
    query: str = ""
    system: Any = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}{self.path}{self.query}"

    def __truediv__(self, name: str) -> Remote:
        return replace(self, path=f"{self.path.rstrip('/')}/{name}") if name else self

    @property
    def name(self) -> str:
        """The last part."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def parent(self) -> Remote:
        """The place without its last part."""
        return replace(self, path=self.path.rstrip("/").rpartition("/")[0])

    def with_name(self, name: str) -> Remote:
        """The same place with another last part."""
        return self.parent / name

    def is_dir(self) -> bool:
        """Whether it was made, or anything lies below."""
        return self._is("Directory")

    def is_file(self) -> bool:
        """Whether it is an object."""
        return self._is("File")

    def is_symlink(self) -> bool:
        """An object store has no links."""
        return False

    def exists(self) -> bool:
        """Whether it is an object or a folder."""
        return self.is_file() or self.is_dir()

    def _is(self, kind: str) -> bool:
        return bool(self.system.get_file_info(self.path).type.name == kind)

    def mkdir(self, *, parents: bool = True, exist_ok: bool = True) -> None:
        """Makes it a folder; one that is there stays."""
        self.system.create_dir(self.path, recursive=True)

    def glob(self, pattern: str) -> Iterator[Remote]:
        """The objects and folders right below whose name matches."""
        return (place for place, _ in self.listing() if fnmatch.fnmatchcase(place.name, pattern))

    def listing(self) -> list[tuple[Remote, datetime | None]]:
        """What lies right below, with the time at which it was written by the store's own clock."""
        from pyarrow.fs import FileSelector

        found = self.system.get_file_info(FileSelector(self.path, allow_not_found=True))
        return [(replace(self, path=info.path), info.mtime) for info in found]

    def open(self) -> Any:
        """A file that reads from any place; the caller closes it."""
        return self.system.open_input_file(self.path)

    def read_bytes(self) -> bytes:
        """The whole object."""
        with self.open() as file:
            return bytes(file.read())

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole object as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        """Writes the object, whole or not at all."""
        with self.system.open_output_stream(self.path) as file:
            file.write(content)

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Removes the object."""
        try:
            self.system.delete_file(self.path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rename(self, name: str) -> None:
        """Gives the object another name, by a copy and a removal."""
        self.system.move(self.path, self.with_name(name).path)


Location: TypeAlias = Path | Remote


def holds_results(folder: Location) -> bool:
    """Whether it is a results folder: those have a table of trials from the start of a run."""
    return (folder / "trials").is_dir()


def rename(file: Location, name: str) -> None:
    """Gives a file another name in the same folder."""
    if isinstance(file, Path):
        file.rename(file.with_name(name))
    else:
        file.rename(name)


def location(text: str) -> Location:
    """The local path or the address that a user gave.

    Raises:
        StoreError: no such kind of store, or a name that no file system takes.
    """
    if any(ord(mark) < 32 for mark in text):
        raise StoreError(f"{text!r:.80}: not a folder's name; allowed: no control characters")
    if text.startswith("file://") or not _ADDRESS.match(text):
        path = Path(text.removeprefix("file://"))
        if long := [part for part in path.parts if len(os.fsencode(part)) > _LONGEST]:
            raise StoreError(f"{long[0][:40]}...: too long for a name; allowed: {_LONGEST} bytes")
        return path
    return _remote(text)


def _remote(text: str) -> Remote:
    from pyarrow import ArrowException
    from pyarrow.fs import FileSystem

    address = urlsplit(text)
    path = f"{address.netloc.rpartition('@')[2]}{address.path}".rstrip("/")  # without credentials
    shown = f"{address.scheme}://{path}"
    if ".." in path.split("/") or not path:
        raise StoreError(f"{shown}: not a place; allowed: {address.scheme}://BUCKET/FOLDER without '..'")
    try:
        system, inside = FileSystem.from_uri(address._replace(query=urlencode(_query(address))).geturl())
    except (ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).replace(text, shown).split())[:300] or type(error).__name__
        raise StoreError(f"{shown}: cannot be opened: {reason}") from None
    inside = inside.rstrip("/")
    query = f"?{address.query}" if address.query else ""
    return Remote(scheme=shown.removesuffix(inside), path=inside, query=query, system=system)


def _query(address: SplitResult) -> dict[str, str]:
    """The options of an address; of S3's, a store of one's own is where ``AWS_ENDPOINT_URL`` says."""
    given = dict(parse_qsl(address.query))
    endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL", ""))
    if address.scheme != "s3" or not endpoint.netloc or "endpoint_override" in given:
        return given
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    own = {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme, "region": region}
    return own | given
