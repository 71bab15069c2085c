"""When frames were taken, as their files declare it: seconds since 1970, UTC.

A date without a zone is taken for the local time of this machine: NeXus asks for that, and
detectors' own headers are written so.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import h5py
import numpy as np

# NXmx, CXI and DECTRIS: where a file says when its series began (ISO 8601).
STARTS = ("start_time", "instrument_1/start_time", "data_collection_date")
DECTRIS_START = "instrument/detector/detectorSpecific/data_collection_date"
# Seconds from the start of one frame to that of the next.
PERIODS = (
    "instrument/detector/frame_time",
    "instrument/detector/detectorSpecific/frame_time",
    "instrument_1/detector_1/frame_time",
)
# A number a frame, in s or ns since 1970.
STAMPS = (
    "data/timestamp",
    "instrument/detector/timestamp",
    "data_1/timestamp",
    "instrument_1/detector_1/timestamp",
    "timestamp",
)
FRAME_STARTS = "instrument/detector/start_time"
# Years from 1990 to 2100, s: whatever is outside counts from another day.
EARLIEST, LATEST = 6.3e8, 4.1e9
NANOSECONDS = 1e9
MONTH_NAMES = (
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
)  # fmt: skip
MONTHS = {name: number for number, name in enumerate(MONTH_NAMES, start=1)}
DATE = re.compile(
    r"(?P<year>\d{4})[-/:](?P<month>\d{2}|[A-Za-z]{3})[-/:](?P<day>\d{2})[T ]+"
    r"(?P<clock>\d{2}:\d{2}:\d{2}(?:\.\d+)?)(?P<zone>Z|[+-]\d{2}:?\d{2})?"
)
C_DATE = re.compile(
    r"[A-Za-z]{3}\s+(?P<month>[A-Za-z]{3})\s+(?P<day>\d{1,2})\s+"
    r"(?P<clock>\d{2}:\d{2}:\d{2}(?:\.\d+)?)\s+(?P<year>\d{4})(?P<zone>)"
)
# MarCCD: month, day, hour, minute, year, seconds.
MARCCD = re.compile(r"(\d{2})(\d{2})(\d{2})(\d{2})(\d{4})\.(\d{2})")
HEADER_KEYS = {
    "cbf": ("_array_data.header_contents",),
    "tif": ("imageDescription", "date"),
    "mar345": ("DATE",),
    "dtrek": ("DATE",),
    "edf": ("time_of_frame", "Date", "date", "DATE"),
}


def header_time(header: Mapping[str, Any], kind: str) -> float | None:
    """Return when the frame of a detector's own format was taken; None where nobody says.

    Parameters
    ----------
    kind
        As for `header_metadata`.
    """
    if kind == "marccd":
        return _marccd(header)
    for key in HEADER_KEYS.get(kind, ()):
        found = parse_time(str(header.get(key, "")))
        if found is not None:
            return found
    return None


def _marccd(header: Mapping[str, Any]) -> float | None:
    value = header.get("acquire_timestamp", "")
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    found = MARCCD.search(text)
    if found is None:
        return None
    month, day, hour, minute, year, second = found.groups()
    return parse_time(f"{year}-{month}-{day}T{hour}:{minute}:{second}")


def parse_time(text: str) -> float | None:
    """Return the first date and time in a text, or a number of seconds; None without either."""
    found = DATE.search(text) or C_DATE.search(text)
    if found is None:
        try:
            return _sensible(float(text))
        except ValueError:
            return None
    month = found["month"]
    number = int(month) if month.isdecimal() else MONTHS.get(month.lower(), 0)
    clock = found["clock"]
    # Python knows microseconds; detectors write nanoseconds.
    iso = f"{found['year']}-{number:02d}-{int(found['day']):02d}T{clock[:15]}"
    try:
        return _sensible(datetime.fromisoformat(f"{iso}{found['zone'] or ''}").timestamp())
    except (ValueError, OverflowError, OSError):
        return None


def _sensible(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) and EARLIEST < seconds < LATEST else None


class Hdf5Clock:
    """When the frames of an open HDF5 file were taken.

    Parameters
    ----------
    place
        Of the frames; its first part is the entry.
    count
        Number of frames: a field with as many values has one a frame.
    """

    def __init__(self, file: h5py.File, place: str, count: int) -> None:
        self._file, self._count = file, count
        entry = file.get(place.strip("/").split("/")[0] or "entry")
        self._entry: Any = entry if isinstance(entry, h5py.Group) else file
        places = (*STARTS, DECTRIS_START)
        self._start = next(
            filter(None, (self._date(self._entry.get(name)) for name in places)), None
        )
        self._period = next(filter(None, map(self._number, PERIODS)), None)

    def time(self, event: int) -> float | None:
        """Return when a frame was taken; None where the file does not say."""
        for name in STAMPS:
            found = self._stamp(self._entry.get(name), event)
            if found is not None:
                return found
        seconds = self._stamp(self._file.get("LCLS/machineTime"), event)
        if seconds is not None:
            return (
                seconds + self._value(self._file.get("LCLS/machineTimeNanoSeconds"), event) * 1e-9
            )
        field = self._entry.get(FRAME_STARTS)
        if isinstance(field, h5py.Dataset) and field.shape == (self._count,):
            since = parse_time(_text(field.attrs.get("start")))
            after = self._value(field, event)
            if field.dtype.kind in "iuf" and since is not None:
                return since + after
        if self._start is None or (self._count > 1 and self._period is None):
            return None
        return self._start + event * (self._period or 0.0)

    def _date(self, field: Any) -> float | None:
        if not isinstance(field, h5py.Dataset) or field.size != 1 or field.dtype.kind not in "OS":
            return None
        return parse_time(_text(np.asarray(field[()]).ravel()[0]))

    def _number(self, name: str) -> float | None:
        field = self._entry.get(name)
        if not isinstance(field, h5py.Dataset) or field.size != 1 or field.dtype.kind not in "iuf":
            return None
        value = float(np.asarray(field[()]).ravel()[0])
        return value if 0 < value < 1e5 else None

    def _value(self, field: Any, event: int) -> float:
        if not isinstance(field, h5py.Dataset) or field.dtype.kind not in "iuf" or field.ndim != 1:
            return 0.0
        return float(field[event]) if event < field.shape[0] else 0.0

    def _stamp(self, field: Any, event: int) -> float | None:
        value = self._value(field, event)
        return _sensible(value) or _sensible(value / NANOSECONDS)


def _text(value: Any) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
