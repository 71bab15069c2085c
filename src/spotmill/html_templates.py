"""The templates of HTML pages, read one way wherever a page is made."""

import jinja2


def html_templates(package: str) -> jinja2.Environment:
    """Return the templates of a package's folder `templates`.

    Values are escaped, for names come from users, and one that nobody gave is an error.
    """
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
