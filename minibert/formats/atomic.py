"""Writing a file so that a crash, a full disk or an exception leaves the old file or the new one, never a piece.

The order is the one that survives power loss (Pillai et al., OSDI 2014): write a temporary file in the same folder,
fsync it, rename it over the old one, fsync the folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

__all__ = ["sync_folder", "write_atomic"]


def write_atomic(path: str | os.PathLike[str], content: bytes | Iterable[bytes | memoryview]) -> None:
    """Writes `content`, bytes or chunks of bytes, as the file `path`; all of it or nothing.

    A file already there keeps its permissions, and programs that hold it open or mapped keep what they had. A symbolic
    link is replaced, not followed. A device or a pipe is written to as it is: it cannot be replaced, and what came out
    is out. Raises OSError as the file system does; `path` is then untouched, unless it was the last step, the folder's
    fsync, that failed.
    """
    path = Path(path)
    chunks = (content,) if isinstance(content, bytes) else content
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        with open(path, "wb") as file:
            file.writelines(chunks)
        return
    if not path.parent.is_dir():  # say the name that was asked for, not the temporary one
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            with contextlib.suppress(FileNotFoundError):
                os.chmod(temporary, stat.S_IMODE(os.stat(path).st_mode))  # before a private file's content is in it
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno and error.filename in (None, str(temporary)):
            if error.filename2 is not None:
                del error.filename2  # set to None, it would be shown as such
            error.filename = str(path)  # a full disk names none, the temporary one is our affair
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes the rename itself durable; Windows cannot open a folder and orders this on its own."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
