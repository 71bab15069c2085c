"""Numbers as one reads them."""

from collections.abc import Sequence

from spotmill.report.verdict import percent

SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def length(metres: float) -> str:
    """Return a small length in µm or mm."""
    return f"{metres * 1e6:.4g} µm" if metres < 1e-3 else f"{metres * 1e3:.4g} mm"


def span(values: Sequence[float]) -> str:
    """Return a range of values, or the one there is."""
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def number(value: float | None) -> str:
    """Return a number with as many digits as one reads; a dash where there is none."""
    if value is None or value != value:
        return "–"
    if value == int(value) and abs(value) < 1e7:
        return f"{int(value):,}".replace(",", "\u202f")
    if abs(value) >= 1e7 or 0 < abs(value) < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        power = str(int(exponent)).translate(SUPERSCRIPT)
        return f"{float(mantissa):g} × 10{power}"
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.3g}"


def share(value: float | None) -> str:
    """Return a share as per cent; a dash where there is none."""
    return "–" if value is None or value != value else percent(value)


def interval(ends: tuple[float, float] | None) -> str:
    """Return an interval of shares in per cent."""
    return "–" if ends is None else f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}"
