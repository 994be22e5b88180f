"""Files that are there whole or not at all, and the pages made of templates."""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jinja2


def write_whole(path: str | Path, content: str | bytes) -> None:
    """Write a file (text as UTF-8) under a temporary name, then rename it.

    Whoever reads sees the file before or the file after; a writer that is killed or
    fails leaves the one before. Raises OSError where the folder cannot be written.
    """
    path = Path(path)
    # A surrogate stands for a byte of a file name that is no text.
    data = (
        content.encode(errors="backslashreplace")
        if isinstance(content, str)
        else content
    )
    # The process is part of the name: two writers of one file do not mix.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def template(path: Path, **filters: object) -> "jinja2.Template":
    """A page's template, which escapes what it is given and knows every name.

    `filters` are functions the template may use by their names.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(path.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.get_template(path.name)
