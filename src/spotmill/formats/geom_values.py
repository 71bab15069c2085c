"""Single values of a CrystFEL geometry file, from text and back.

Every parser takes the text to the right of the equals sign, without its comment, and
raises ValueError with what is wrong and what would be right; the reader adds file and line.
"""

import math
import re
from dataclasses import dataclass
from decimal import Decimal

NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
BITS = re.compile(r"0[xX][0-9a-fA-F]{1,16}|0|[1-9][0-9]{0,19}", re.ASCII)
COMPONENT = re.compile(
    r"\s*([+-]?)\s*((?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)?\s*([xyz])\s*", re.ASCII
)
HEADER_NAME = re.compile(r"[A-Za-z_][^\s;=]*", re.ASCII)

# No detector has as many pixels on a side; larger numbers are slips.
LARGEST_INDEX = 1_000_000

HIGHEST_AXIS = 15

# Factor from each unit that a directive admits to the unit we compute in (m, eV, Å, V).
UNITS: dict[str, dict[str, float]] = {
    "clen": {"m": 1.0, "mm": 1e-3},
    "detector_shift_x": {"m": 1.0, "mm": 1e-3},
    "detector_shift_y": {"m": 1.0, "mm": 1e-3},
    "photon_energy": {"eV": 1.0, "keV": 1e3, "MeV": 1e6},
    "wavelength": {"A": 1.0, "m": 1e10},
    "electron_voltage": {"V": 1.0, "kV": 1e3},
}

# Of directives whose unit may be left out, for a number and for a place in the data file.
# A camera length read from a file is in mm there, for historical reasons.
DEFAULT_UNITS: dict[str, tuple[str, str]] = {
    "clen": ("m", "mm"),
    "detector_shift_x": ("m", "m"),
    "detector_shift_y": ("m", "m"),
    "photon_energy": ("eV", "eV"),
}


@dataclass(frozen=True)
class Quantity:
    """A number with its unit, or the place in the data files where the number stands.

    Attributes
    ----------
    directive : str
        `clen`, `photon_energy`, …
    value : float or str
        The number, in `unit`, or the location.
    unit : str
        As written, or what CrystFEL assumes where none is.
    """

    directive: str
    value: float | str
    unit: str

    @property
    def scale(self) -> float:
        """Factor from `unit` to m, eV, Å or V."""
        return UNITS[self.directive][self.unit]

    @property
    def number(self) -> float | None:
        """The number in m, eV, Å or V; None where it stands in the data files."""
        return None if isinstance(self.value, str) else self.value * self.scale

    @property
    def location(self) -> str | None:
        """The place in the data files; None where the value is a number."""
        return self.value if isinstance(self.value, str) else None


def parse_quantity(directive: str, text: str) -> Quantity:
    """Return a number or location with its unit."""
    value, *rest = text.split(maxsplit=1)
    units = UNITS[directive]
    if rest and rest[0] not in units:
        raise ValueError(f"unknown unit {rest[0][:20]!r}; use one of {', '.join(units)}")
    is_number = NUMBER.fullmatch(value) is not None
    is_location = value.startswith("/") or (rest and HEADER_NAME.fullmatch(value))
    if not (is_number or is_location):
        raise ValueError(
            f"{value[:40]!r} is neither a number nor a path; write a number, a space and its unit "
            f"({', '.join(units)}), or a path that begins with /"
        )
    if not rest and directive not in DEFAULT_UNITS:
        raise ValueError(f"has no unit; add one of {', '.join(units)} after a space")
    unit = rest[0] if rest else DEFAULT_UNITS[directive][0 if is_number else 1]
    return Quantity(directive, parse_number(value) if is_number else value, unit)


def parse_number(text: str) -> float:
    """Return a finite number."""
    if not NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a number; write one such as 0.15 or 1e-3")
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]!r} is too large for a number; check it")
    return value


def parse_positive(text: str) -> float:
    """Return a number above 0."""
    value = parse_number(text)
    if value <= 0:
        raise ValueError(f"{text[:40]!r} must be above 0")
    return value


def parse_bandwidth(text: str) -> float:
    """Return a fraction of the wavelength."""
    value = parse_number(text)
    if not 0 <= value < 1:
        raise ValueError(f"{text[:40]!r} is not a fraction of the wavelength; 1 % is 0.01")
    return value


def parse_index(text: str) -> int:
    """Return a pixel number; `512.0` counts as one, `512.5` does not."""
    value = parse_number(text)
    if value != math.floor(value) or not 0 <= value <= LARGEST_INDEX:
        raise ValueError(
            f"{text[:40]!r} is not a number of pixels; use a whole number of 0 to {LARGEST_INDEX}"
        )
    return int(value)


def parse_bits(text: str) -> int:
    """Return a bit field, decimal or 0x… hexadecimal."""
    if not BITS.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a bit field; write it as 0x00ff or in decimal")
    return int(text, 0)


def parse_switch(text: str) -> bool:
    """Return a truth value."""
    known = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in known:
        raise ValueError(f"{text[:40]!r} is neither 1 nor 0; use one of them")
    return known[text.lower()]


def parse_vector(text: str) -> tuple[float, float, float]:
    """Return (x, y, z) of a direction such as `-0.002x +1.0y -0.1z`, `x` or `-y`."""
    remedy = "write it as -0.002x +1.0y -0.1z"
    components: dict[str, float] = {}
    position = 0
    while position < len(text):
        match = COMPONENT.match(text, position)
        if match is None or (components and not match[1]):
            raise ValueError(f"{text[:60]!r} is not a direction; {remedy}")
        sign, size, axis = match.groups()
        if axis in components:
            raise ValueError(f"{text[:60]!r} names {axis} twice; {remedy}")
        components[axis] = parse_number(sign + (size or "1"))
        position = match.end()
    if not any(components.values()):
        raise ValueError(f"{text[:60]!r} has no direction; {remedy}")
    return components.get("x", 0.0), components.get("y", 0.0), components.get("z", 0.0)


def parse_axis(text: str) -> str | int:
    """Return the meaning of an axis of the data: `%`, `ss`, `fs` or a fixed index."""
    return text if text in ("%", "ss", "fs") else parse_index(text)


def parse_text(text: str) -> str:
    """Return a path or file name as it stands."""
    return text


def parse_word(text: str) -> str:
    """Return one word."""
    if len(text.split()) != 1:
        raise ValueError(f"{text[:40]!r} is not one word")
    return text


def parse_peak_list_type(text: str) -> str:
    """Return `auto`, `cxi` or `list3`."""
    if text not in ("auto", "cxi", "list3"):
        raise ValueError(f"{text[:40]!r} is not a type of peak list; use auto, cxi or list3")
    return text


def parse_members(text: str) -> tuple[str, ...]:
    """Return the names in a list separated by commas."""
    members = tuple(member.strip() for member in text.split(","))
    if not all(members):
        raise ValueError("has an empty name in its list; separate names by single commas")
    if len(set(members)) < len(members):
        twice = next(member for member in members if members.count(member) > 1)
        raise ValueError(f"names {twice[:40]!r} twice; name each member once")
    return members


def format_quantity(quantity: Quantity) -> str:
    """Return a quantity as it stands in a geometry file.

    Numbers in their default unit go without it, for versions of CrystFEL that know no
    units; locations never do, as the manual advises.
    """
    if isinstance(quantity.value, str):
        return f"{quantity.value} {quantity.unit}"
    number = format_number(quantity.value)
    if DEFAULT_UNITS.get(quantity.directive, ("", ""))[0] == quantity.unit:
        return number
    return f"{number} {quantity.unit}"


def format_number(value: float) -> str:
    """Return the shortest text that reads back as the same number."""
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def format_vector(vector: tuple[float, float, float]) -> str:
    """Return a direction as it stands in a geometry file.

    CrystFEL takes digits and points there, but no exponents.
    """
    plain = [format(Decimal(repr(float(component))), "f") for component in vector]
    return " ".join(
        f"{'' if text.startswith('-') else '+'}{text}{axis}"
        for axis, text in zip("xyz", plain, strict=True)
    )
