"""Some frames of many, evenly spread over all that a user names."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from spotmill.errors import SpotmillError
from spotmill.formats.event_id import EventId
from spotmill.formats.images import Source, sources
from spotmill.inference.events import Event, Maker, Refused

Chosen = list[tuple[Path, list[int | EventId]]]
# Of a file from which one frame is taken, which one: shares of it, even in any run of files.
GOLDEN = 0.6180339887498949


def chosen(paths: Sequence[Path], most: int, maker: Maker, refused: Refused) -> tuple[Chosen, int]:
    """Return at most so many frames by file, evenly spread, and how many there are.

    Of more files than frames are wanted only some are opened, each for one frame; of the others
    their number is taken as one each.

    Parameters
    ----------
    refused
        Told of each file that cannot be read: path, None, why.
    """
    files: list[Source] = []
    for path in paths:

        def bad_line(error: SpotmillError, path: Path = path) -> None:
            refused(path, None, str(error))

        try:
            files += sources(path, bad_line)
        except SpotmillError as error:
            refused(path, None, str(error))
    if len(files) > most:
        some = [files[number] for number in evenly(len(files), most)]
        ones: Chosen = []
        for place, source in enumerate(some):
            events = _events(source, maker, refused)
            if events:
                ones.append((source.path, [events[int(len(events) * (place * GOLDEN % 1))]]))
        return ones, len(files)
    known = [(source.path, _events(source, maker, refused)) for source in files]
    count = sum(len(events) for _, events in known)
    wanted = evenly(count, most)
    found: Chosen = []
    first = at = 0
    for path, events in known:
        last, begun = first + len(events), at
        while at < len(wanted) and wanted[at] < last:
            at += 1
        if at > begun:
            found.append((path, [events[number - first] for number in wanted[begun:at]]))
        first = last
    return found, count


def evenly(count: int, most: int) -> list[int]:
    """Return at most so many numbers below a count, the middles of equal parts."""
    some = min(count, most)
    return [(2 * number + 1) * count // (2 * some) for number in range(some)]


def _events(source: Source, maker: Maker, refused: Refused) -> Sequence[int | EventId]:
    if source.events:
        return source.events
    try:
        with maker.open(source.path) as file:
            return range(len(file))
    except SpotmillError as error:
        refused(source.path, None, str(error))
        return ()


def read(frames: Chosen, maker: Maker, refused: Refused) -> Iterator[Event]:
    """Yield frames one at a time; those that cannot be read are told to `refused`."""
    for path, wanted in frames:
        try:
            file = maker.open(path)
        except SpotmillError as error:
            refused(path, None, str(error))
            continue
        with file:
            for one in wanted:
                number = one if isinstance(one, int) else None
                try:
                    number = file.number(one)
                    event = maker.event(file.read(number), len(file))
                except SpotmillError as error:
                    refused(path, number, str(error))
                    continue
                yield event
