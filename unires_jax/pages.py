"""Pages made of templates: what they are given is escaped, a missing name an error."""

from pathlib import Path

import jinja2

from unires_jax.errors import printable


def template(path: Path, **filters: object) -> jinja2.Template:
    """A page's template, which escapes what it is given and knows every name.

    `filters` are functions the template may use by their names.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(path.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters.update(filters)
    return environment.get_template(path.name)


def _shown(value: object) -> object:
    """Foreign text on a page: what hides or turns text is escaped, lines stay."""
    is_text = isinstance(value, str) and not hasattr(value, "__html__")
    return printable(str(value), "\n\t") if is_text else value
