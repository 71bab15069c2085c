"""Who made a dataset, under which licence, and how it is cited."""

from spotmill import __version__
from spotmill.config import Publication


def licence_url(licence: str | None) -> str | None:
    """Return the address of a licence, given by its SPDX name or its address; None for none."""
    if licence is None or "://" in licence:
        return licence
    return f"https://spdx.org/licenses/{licence}.html"


def licence_words(publication: Publication) -> str:
    """Return the licence for readers."""
    if publication.licence is None:
        return "not stated (`publication.licence` of the configuration); ask who made it"
    return f"[{publication.licence}]({licence_url(publication.licence)})"


def citation(publication: Publication, what: str, fingerprint: str) -> str:
    """Return a line to cite something made with this Spotmill."""
    names = ", ".join(publication.creators) or "[name who made the data]"
    year = f" ({publication.date[:4]})" if publication.date else ""
    url = f" {publication.url}" if publication.url else ""
    return (
        f"{names}{year}. {what}, simulated with Spotmill {__version__}, fingerprint "
        f"{fingerprint[:16]}.{url}"
    )
