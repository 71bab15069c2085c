"""Make the moving picture of `make run` for the README, and its transcript, from a recording.

    script --quiet --log-out run.typescript --log-timing run.timing --command 'make run'
    python docs/figures/make_recording.py run.typescript run.timing --folder "$PWD"

(`script` is util-linux's.) The two files become docs/figures/run.cast.gz, an asciicast, in which
the folder of the run is called ~/spotmill. Without arguments the kept asciicast is read. It writes
docs/figures/run.svg, an animation without a script, and docs/run.md. What was printed is printed
there; pauses are shortened, lines are cut at the edge, and the transcript leaves out repetitions.
"""

import argparse
import gzip
import json
import re
from html import escape
from itertools import groupby
from pathlib import Path

import pyte

from spotmill.formats.atomic import atomic, write_text

HERE = Path(__file__).resolve().parent
CAST = HERE / "run.cast.gz"
PROMPT = "$ make run\r\n"
PAUSE = 0.4  # seconds, the longest
LENGTH = 36.0  # seconds of the animation, and of its last picture
REST = 6.0
COLUMNS, ROWS = 104, 28
WIDE, HIGH = 7.83, 17  # pixels of a letter
TICK = 10  # seconds of the clock
COLOURS = {"green": "#7ee787", "brown": "#e3b341", "red": "#ff7b72", "default": "#c9d1d9"}


def read_script(typescript: Path, timing: Path, folder: str) -> list[tuple[float, str]]:
    """Return what was printed when, from the files of `script`, without their headers."""
    said = typescript.read_bytes().partition(b"\n")[2]
    events, now, place = [], 0.0, 0
    for line in timing.read_text().splitlines():
        delay, count = line.split()
        now, place = now + float(delay), place + int(count)
        events.append((now, said[place - int(count) : place].decode("utf-8", "replace")))
    whole = "".join(text for _, text in events)
    assert whole.rstrip().endswith("index.html"), "the recording does not end with the report"
    # The name of the folder may be cut between two events: join what belongs to a line.
    lines: list[tuple[float, str]] = []
    rest = ""
    for when, text in events:
        rest += text
        if rest.endswith("\n"):
            lines.append((round(when, 3), rest.replace(folder, "~/spotmill")))
            rest = ""
    return lines


def write_cast(events: list[tuple[float, str]]) -> None:
    """Keep the recording as an asciicast, version 2."""
    header = {"version": 2, "width": COLUMNS, "height": ROWS, "command": "make run"}
    lines = [header, *([when, "o", text] for when, text in events)]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    with atomic(CAST) as part:
        part.write_bytes(gzip.compress(text.encode(), mtime=0))


def read_cast() -> list[tuple[float, str]]:
    """Return what was printed when."""
    lines = gzip.decompress(CAST.read_bytes()).decode().splitlines()[1:]
    return [(when, text) for when, _, text in map(json.loads, lines)]


def terminal(events: list[tuple[float, str]]):
    """Return the rows of a long terminal, and when each of them was there."""
    wide = max(len(line) for _, text in events for line in text.splitlines()) + 1
    high = sum(text.count("\n") for _, text in events) + 3
    screen = pyte.Screen(wide, high)
    stream = pyte.Stream(screen)
    stream.feed(PROMPT)
    steps = [(0.0, screen.cursor.y)]
    for when, text in events:
        stream.feed(text)
        steps.append((when, screen.cursor.y))
    rows = [[screen.buffer[y][x] for x in range(wide)] for y in range(screen.cursor.y)]
    return rows, steps


def plain(row) -> str:
    """Return the text of a row, cut at the edge."""
    text = "".join(letter.data for letter in row).rstrip()
    return text if len(text) <= COLUMNS else text[: COLUMNS - 1] + "…"


def shortened(steps: list[tuple[float, int]]) -> list[tuple[float, float, int]]:
    """Return time in the animation, time in truth and rows of each step, pauses shortened."""
    at, before, found = 0.0, 0.0, []
    for when, rows in steps:
        at += min(when - before, PAUSE)
        before = when
        found.append((at, when, rows))
    return [(time * LENGTH / at, when, rows) for time, when, rows in found]


def keyframes(name: str, moves: list[tuple[float, float]], whole: float) -> str:
    """Return an animation that moves upwards in steps: seconds, pixels."""
    places = []
    for _, group in groupby(moves, key=lambda move: round(move[0] / whole, 4)):
        share, pixels = list(group)[-1]
        places.append(f"{100 * share / whole:.2f}%{{transform:translateY({-pixels:g}px)}}")
    return f"@keyframes {name}{{{''.join(places)}}}"


def svg(rows, steps) -> str:
    """Return the animation."""
    wide, high = round(COLUMNS * WIDE + 32), ROWS * HIGH + 62
    played, whole = shortened(steps), LENGTH + REST
    ticks = round(steps[-1][0] // TICK)
    scroll = keyframes("scroll", [(at, max(0, n - ROWS) * HIGH) for at, _, n in played], whole)
    # What is not yet printed lies under a cover while the first page fills.
    cover = keyframes("cover", [(at, -min(n, ROWS) * HIGH) for at, _, n in played], whole)
    clock = keyframes("clock", [(at, when // TICK * HIGH) for at, when, _ in played], whole)
    last = max(0, steps[-1][1] - ROWS) * HIGH
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" '
        f'height="{high}" role="img" aria-label="make run on a terminal, from its first line to '
        'the path of the report">',
        "<style>text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',"
        "monospace;white-space:pre}",
        *(f".{name}{{fill:{colour}}}" for name, colour in COLOURS.items()),
        scroll + cover + clock,
        *(
            f"#{name}{{animation:{name} {whole:g}s step-end infinite}}"
            for name in ("scroll", "cover", "clock")
        ),
        f"@media (prefers-reduced-motion:reduce){{#scroll{{animation:none;transform:translateY("
        f"{-last}px)}}#cover{{animation:none;transform:translateY({ROWS * HIGH}px)}}"
        f"#clock{{animation:none;transform:translateY({-ticks * HIGH}px)}}}}",
        "</style>",
        f'<clipPath id="screen"><rect y="40" width="{wide}" height="{ROWS * HIGH + 6}"/>',
        "</clipPath>",
        f'<clipPath id="watch"><rect y="10" width="{wide}" height="20"/></clipPath>',
        f'<rect width="{wide}" height="{high}" rx="8" fill="#0d1117"/>',
        f'<path d="M0 36H{wide}" stroke="#30363d"/>',
        '<text x="16" y="24" class="default">make run</text>',
        '<g clip-path="url(#watch)"><g id="clock">',
    ]
    for tick in range(ticks + 1):
        minutes, seconds = divmod(tick * TICK, 60)
        lines.append(
            f'<text x="{wide - 16}" y="{24 + tick * HIGH}" text-anchor="end" class="default">'
            f"{minutes} min {seconds:02} s</text>"
        )
    lines.append('</g></g><g clip-path="url(#screen)"><g id="scroll">')
    for number, row in enumerate(rows):
        text = plain(row)
        if not text:
            continue
        parts = []
        for colour, letters in groupby(zip(text, row, strict=False), key=lambda pair: pair[1].fg):
            words = escape("".join(letter for letter, _ in letters), quote=False)
            known = colour if colour in COLOURS else "default"
            parts.append(f'<tspan class="{known}">{words}</tspan>')
        y = 40 + (number + 0.8) * HIGH
        lines.append(f'<text x="16" y="{y:g}" xml:space="preserve">{"".join(parts)}</text>')
    size = f'width="{wide}" height="{ROWS * HIGH}"'
    lines.append(f'</g><rect id="cover" y="42" {size} fill="#0d1117"/></g></svg>')
    return "\n".join(lines) + "\n"


def transcript(rows, steps) -> str:
    """Return the page: the first job of every rule and both ends."""
    lines = [plain(row) for row in rows]
    minutes, seconds = divmod(round(steps[-1][0]), 60)
    kept, seen, position = [], set(), 0
    while position < len(lines):
        end = position + 1
        if re.match(r"\[\w{3} \w{3} +\d", lines[position]):
            while end < len(lines) and not re.match(
                r"\[\w{3} \w{3} +\d|Select jobs|Execute \d|Complete log", lines[end]
            ):
                end += 1
            words = re.search(r"rule (\w+):", "\n".join(lines[position:end]))
            new = words is not None and words[1] not in seen
            if words:
                seen.add(words[1])
            if new or position > len(lines) - 20:
                kept += lines[position:end]
            elif kept[-1] != "…":
                kept.append("…")
        elif not re.match(r"Select jobs|Execute \d|$", lines[position]) or len(kept) < 35:
            kept.append(lines[position])
        position = end
    text = "\n".join(line.rstrip() for line in kept)
    return (
        "# A run, as it was printed\n\n"
        "`make run` of the shipped configuration, recorded on two cores that others used, too:\n"
        f"{minutes} minutes {seconds} seconds from the first line to the last, `.venv` being "
        "there. Of each rule\nthe first job is shown, `…` stands for what is left out, and lines "
        f"are cut at {COLUMNS} letters.\n`docs/figures/make_recording.py` made this page and the "
        "moving picture in the README from one\nrecording; the picture shortens pauses, and its "
        "clock shows true time.\n\n"
        f"```text\n{text}\n```\n"
    )


def main() -> None:
    """Write the animation and the page."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("recording", nargs="*", type=Path, help="typescript and timing")
    arguments.add_argument("--folder", default="", help="folder of the run, which is renamed")
    args = arguments.parse_args()
    if args.recording:
        write_cast(read_script(*args.recording, args.folder or "~/spotmill"))
    rows, steps = terminal(read_cast())
    write_text(HERE / "run.svg", svg(rows, steps))
    write_text(HERE.parent / "run.md", transcript(rows, steps))


if __name__ == "__main__":
    main()
