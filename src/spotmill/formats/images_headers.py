"""Headers of detectors' own formats: wavelength, distance, pixels and centre, in our units.

Each format states its units in its own way; where it names one it is read, and where it does
not the manufacturer's documentation fixes it (given beside each function).
"""

import re
from collections.abc import Mapping
from typing import Any

from spotmill.formats.images_model import FrameMetadata, energy, length, make_metadata

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


def header_metadata(header: Mapping[str, Any], kind: str) -> FrameMetadata:
    """Return what the header of a file says.

    Parameters
    ----------
    header : mapping
        Keys and values as fabio returns them.
    kind : str
        cbf, tif, mar345, marccd, dtrek or edf; of others nothing is known.
    """
    readers = {
        "cbf": _dectris,
        "tif": _dectris,
        "mar345": _mar345,
        "marccd": _marccd,
        "dtrek": _dtrek,
        "edf": _edf,
    }
    if kind not in readers:
        return FrameMetadata(remarks=(f"headers of {kind} files are not read",))
    return readers[kind](header)


def _number(header: Mapping[str, Any], *keys: str) -> float | None:
    """Return the first number under the first of the keys that has one."""
    for key in keys:
        match = re.search(NUMBER, str(header.get(key, "")))
        if match:
            return float(match.group())
    return None


def _pair(header: Mapping[str, Any], first: str, second: str) -> tuple[float, float] | None:
    one, two = _number(header, first), _number(header, second)
    return None if one is None or two is None else (one, two)


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _dectris(header: Mapping[str, Any]) -> FrameMetadata:
    """Read the comments that DECTRIS detectors put into CBF and TIFF files, units included."""
    text = str(header.get("_array_data.header_contents", header.get("imageDescription", "")))
    remarks: list[str] = []

    def find(key: str, convert: Any) -> float | None:
        match = re.search(rf"#?\s*{key}\s*[:=]?\s*({NUMBER})\s*([^\s\d]*)", text)
        if not match:
            return None
        try:
            return float(convert(float(match.group(1)), match.group(2)))
        except ValueError as error:
            remarks.append(f"{key}: {error}")
            return None

    sides = re.search(rf"Pixel_size\s*[:=]?\s*({NUMBER})\s*m\s*x\s*({NUMBER})\s*m", text)
    centre = re.search(rf"Beam_xy\s*[:=]?\s*\(\s*({NUMBER})\s*,\s*({NUMBER})\s*\)", text)
    return make_metadata(
        photon_energy=find("(?:Photon_energy|Incident_energy)", energy),
        wavelength=_scaled(find("Wavelength", length), 1e10),
        clen=find("Detector_distance", length),
        pixel_size=(float(sides.group(1)), float(sides.group(2))) if sides else None,
        beam_centre=(float(centre.group(1)), float(centre.group(2))) if centre else None,
        saturation=find("Count_cutoff", lambda value, _: value),
        remarks=remarks,
    )


def _mar345(header: Mapping[str, Any]) -> FrameMetadata:
    """Read the header of a MAR345: Å, mm; pixels in µm; the centre in pixels."""
    sides = _pair(header, "PixelLength", "PixelHeight")
    return make_metadata(
        wavelength=_number(header, "WAVELENGTH", "Wavelength"),
        clen=_scaled(_number(header, "DISTANCE", "Distance"), 1e-3),
        pixel_size=(sides[0] * 1e-3, sides[1] * 1e-3) if sides else None,
        beam_centre=_pair(header, "CENTER_X", "CENTER_Y"),
    )


def _marccd(header: Mapping[str, Any]) -> FrameMetadata:
    """Read the header of a MarCCD: integers of 1e-5 Å, 1e-3 mm, nm and 1e-3 pixels."""
    sides = _pair(header, "pixelsize_x", "pixelsize_y")
    centre = _pair(header, "beam_x", "beam_y")
    distance = _number(header, "xtal_to_detector") or _number(header, "start_xtal_to_detector")
    return make_metadata(
        wavelength=_scaled(_number(header, "source_wavelength"), 1e-5),
        clen=_scaled(distance, 1e-6),
        pixel_size=(sides[0] * 1e-9, sides[1] * 1e-9) if sides else None,
        beam_centre=(centre[0] * 1e-3, centre[1] * 1e-3) if centre else None,
        saturation=_number(header, "saturated_value"),
    )


def _dtrek(header: Mapping[str, Any]) -> FrameMetadata:
    """Read the header of an ADSC detector: Å and mm.

    Its centre is in mm with x along the slow axis, the convention of DENZO that its makers
    follow.
    """
    side = _scaled(_number(header, "PIXEL_SIZE"), 1e-3)
    centre = _pair(header, "BEAM_CENTER_Y", "BEAM_CENTER_X")
    return make_metadata(
        wavelength=_number(header, "WAVELENGTH"),
        clen=_scaled(_number(header, "DISTANCE"), 1e-3),
        pixel_size=(side, side) if side else None,
        beam_centre=(centre[0] * 1e-3 / side, centre[1] * 1e-3 / side) if centre and side else None,
        saturation=_number(header, "CCD_IMAGE_SATURATION", "SATURATED_VALUE"),
    )


def _edf(header: Mapping[str, Any]) -> FrameMetadata:
    """Read the keys that ESRF beam lines agree on for scattering: metres, and pixels."""
    return make_metadata(
        wavelength=_scaled(_number(header, "WaveLength"), 1e10),
        clen=_number(header, "SampleDistance"),
        pixel_size=_pair(header, "PSize_1", "PSize_2"),
        beam_centre=_pair(header, "Center_1", "Center_2"),
    )
