"""Measure prediction against peakfinder8, frame by frame, and where its time goes, on one core.

    OMP_NUM_THREADS=1 python benchmarks/inference.py FRAMES ... --models FOLDER [--geometry X.geom]
        [--peakfinder8 PATH] [--count 10] [--rounds 5] [--threads 2] [--output speed.json]
    python benchmarks/inference.py --drawn speed.json docs/figures/inference_speed.png

FRAMES are files as `spotmill predict` takes them; virtual shards are drawn into stored ones first,
so that reading is what it is for a detector's files. PATH is the compiled `_crystallography` of OM
(see benchmarks/peaks.py). In every round each frame is put to every way in turn, the first one
another each time; figures are CPU seconds, medians over rounds and frames. A ratio is that of the
peer's time to ours for the same frame in the same round; its spread is from the 10th to the 90th
percentile. From memory, the peer is given its floats and its mask ready-made; from the file both
read and decompress the image.

`--threads` compares frames/s of that many threads with one, whole predictions from the files, by
wall: meaningful on an idle machine alone.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import measuring
import numpy as np
import torch
from matplotlib.figure import Figure
from peaks import called, compiled

from spotmill.formats.geom import read_geometry
from spotmill.formats.images import sources
from spotmill.inference import Pipeline
from spotmill.inference.answers import Answer, answers
from spotmill.inference.events import Maker
from spotmill.inference.gain import in_photons
from spotmill.inference.handover import open_handover
from spotmill.inference.second_look import peaks_of
from spotmill.inference.stated import Given
from spotmill.inference.tables import open_tables
from spotmill.inference.values import radius_of, tell
from spotmill.learning import candidates, peak_candidates
from spotmill.learning.encoders import View
from spotmill.learning.frame_summary import features
from spotmill.learning.marked import mark
from spotmill.learning.models.peak_net import fits_of, inputs, may_be_spots
from spotmill.overlays.opener import is_virtual
from spotmill.overlays.virtual import VirtualShard

# Of the peer: signal to noise, photons of a pixel, least pixels of a peak.
SETTINGS = {"peakfinder8": (4.0, 2.0, 1), "peakfinder8, usual": (5.0, 0.5, 2)}
GOALS = {"hits": 2.0, "hits and peaks": 1.0}

Times = dict[str, list[float]]


class Case:
    """One frame with all that is ready beforehand, and the ways to look at it."""

    def __init__(self, pipeline: Pipeline, maker: Maker, file: Any, event: int, peer: Path | None):
        self._pipeline, self._maker, self._file, self._number = pipeline, maker, file, event
        self.event = in_photons(self._read())
        self._peer = None if peer is None else compiled(peer)
        radius = radius_of(self.event.detector)
        self._floats = self.event.image.astype(np.float32)
        self._live = (self.event.mask & np.isfinite(radius)).astype(np.int8)
        self._radius = np.nan_to_num(radius).astype(np.float32)

    def _read(self) -> Any:
        return self._maker.event(self._file.read(self._number), len(self._file))

    def hits(self, event: Any) -> Any:
        models = self._pipeline.models
        return models["hit"].probability(event.image, event.mask, View(event.detector))

    def hits_and_peaks(self, event: Any) -> Any:
        models, marked = self._pipeline.models, mark(event.image, event.mask)
        models["hit"].probability(event.image, event.mask, View(event.detector), marked)
        return peaks_of(models["peaks"], event.image, event.mask, marked)

    def everything(self, event: Any) -> Any:
        return self._pipeline.predict(event)

    def _theirs(self, image: Any, chosen: tuple[float, float, int]) -> Any:
        return called(self._peer, image, self._live, self._radius, *chosen)

    def ways(self) -> dict[str, Callable[[], Any]]:
        """Return every way to look at the frame, from memory and from its file."""
        ours = {
            "hits": self.hits,
            "hits and peaks": self.hits_and_peaks,
            "predict": self.everything,
        }
        found: dict[str, Callable[[], Any]] = {}
        for name, look in ours.items():
            found[f"{name} / memory"] = lambda look=look: look(self.event)
            found[f"{name} / file"] = lambda look=look: look(self._read())
        if self._peer is not None:
            for name, chosen in SETTINGS.items():
                found[f"{name} / memory"] = lambda own=chosen: self._theirs(self._floats, own)
                found[f"{name} / file"] = lambda own=chosen: self._theirs(
                    self._file.read(self._number).image.astype(np.float32), own
                )
        return found


def spent(call: Callable[[], Any]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun


def compared(cases: list[Case], rounds: int) -> dict[str, Times]:
    """Return seconds of every way, in the same order of frames and rounds."""
    found: Times = {}
    for number in range(-1, rounds):
        for place, case in enumerate(cases):
            ways = list(case.ways().items())
            first = (number + place) % len(ways)
            for name, way in ways[first:] + ways[:first]:
                seconds = spent(way)
                if number >= 0:
                    found.setdefault(name, []).append(seconds)
    return found


def stages(case: Case, pipeline: Pipeline, file: Any, maker: Maker, number: int) -> dict[str, Any]:
    """Return seconds of the parts of a whole prediction from the file."""
    found: dict[str, float] = {}

    def step(name: str, call: Callable[[], Any]) -> Any:
        begun = time.process_time()
        result = call()
        found[name] = found.get(name, 0.0) + time.process_time() - begun
        return result

    raw = step("read", lambda: file.read(number))
    # What the file's library takes for the bytes alone; the rest of reading is decompression.
    stored = getattr(file, "_parts", None)
    if stored and stored[0].chunks and stored[0].ndim == 3:
        dataset = stored[0]
        bytes_only = spent(lambda: dataset.id.read_direct_chunk((number, 0, 0)))
        image = spent(lambda: dataset[number])
        found |= {"bytes": bytes_only, "decompression": image - bytes_only}
        found["metadata"] = max(found.pop("read") - image, 0.0)
    event = step("photons, masks", lambda: in_photons(maker.event(raw, len(file))))
    image, mask = event.image, event.mask
    marked = step("mark, background", lambda: mark(image, mask))
    step("mark, background", lambda: marked.levels)
    seen = step("strangeness", lambda: features(image, mask, marked))
    hit, model = pipeline.models["hit"], pipeline.models["peaks"]
    some = step("candidates of hits", lambda: candidates.candidates_of(marked, 64))
    view = View(event.detector)
    whole = spent(lambda: hit.probability(image, mask, view, marked))
    found["network of hits"] = max(whole - found["candidates of hits"], 0.0)
    own = model.network._settings
    every = step(
        "candidates of peaks",
        lambda: peak_candidates.candidates_of(marked, own.candidates, own.patch),
    )
    fits = step("fits of spots", lambda: fits_of(every))
    taken = may_be_spots(fits)
    few = every.of(taken)
    planes, numbers, _ = step(
        "fits of spots", lambda: inputs(few, tuple(fit[:, taken] for fit in fits))
    )
    with torch.no_grad():
        step("network of peaks", lambda: model.network(planes, numbers))
    profiles: dict[Any, Any] = {}
    for target in ("photon_energy", "camera_length"):
        step("values", lambda t=target: tell(pipeline.models.get(t), event, seen, profiles))
    outside = ("read", "bytes", "decompression", "metadata", "photons, masks")
    inside = sum(seconds for name, seconds in found.items() if name not in outside)
    found["false peaks"] = max(spent(lambda: pipeline.predict(event)) - inside, 0.0)
    found["candidates"] = len(some.ss) + len(every.ss)
    return found


def outputs(cases: list[Case], pipeline: Pipeline) -> float:
    """Return seconds a frame of what is written."""
    said = [pipeline.predict(case.event) for case in cases]
    with (
        tempfile.TemporaryDirectory() as folder,
        open_tables(Path(folder), "hits_in_files.lst") as tables,
        open_handover(Path(folder), False) as handover,
    ):
        begun = time.process_time()
        for case, one in zip(cases, said, strict=True):
            tables.add(case.event, one)
            place = getattr(case._file, "place", lambda _: None)(case._number)
            handover.add(case.event, one.peaks, one.is_hit, place)
        tables.flush()
        seconds = time.process_time() - begun
    return seconds / len(cases)


def scaled(
    paths: list[Path], given: Given, pipeline: Pipeline, threads: int, rounds: int
) -> list[float]:
    """Return frames/s of so many threads over that of one, each round, by wall."""
    ratios = []
    for _ in range(rounds):
        rates = []
        for count in (1, threads):
            begun = time.perf_counter()
            said = answers(paths, given, lambda: pipeline, count)
            number = sum(isinstance(answer, Answer) for answer in said)
            rates.append(number / (time.perf_counter() - begun))
        ratios.append(rates[1] / rates[0])
    return ratios


def stored(paths: list[Path], folder: Path) -> Iterator[Path]:
    """Yield files whose images are stored; virtual shards are drawn."""
    for number, path in enumerate(paths):
        if is_virtual(path):
            with VirtualShard(path) as shard:
                path = folder / f"{number}.h5"
                shard.materialise(path)
        yield path


def opened(paths: list[Path], maker: Maker, count: int) -> Iterator[tuple[Any, int]]:
    """Yield open files and numbers of frames, spread evenly over the files."""
    files = [maker.open(path) for path in paths]
    for file in files:
        share = max(count // len(files), 1)
        for number in np.unique(np.linspace(0, len(file) - 1, share).round().astype(int)):
            yield file, int(number)


def spread(values: list[float]) -> str:
    low, middle, high = np.percentile(values, [10, 50, 90])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def shown(times: Times, has_peer: bool) -> None:
    """Print frames/s, and ratios to the peer."""
    print("| what | from | ms a frame | frames/s | of peakfinder8 | of it, usual | goal |")
    print("|---|---|---|---|---|---|---|")
    for name, seconds in times.items():
        what, source = name.split(" / ")
        ratios = []
        for peer in SETTINGS:
            other = times.get(f"{peer} / {source}")
            pairs = zip(other or [], seconds, strict=bool(other))
            ratios.append("" if not has_peer else spread([a / b for a, b in pairs]))
        middle = statistics.median(seconds)
        goal = f"{GOALS[what]:g}" if what in GOALS else ""
        print(
            f"| {what} | {source} | {1e3 * middle:.1f} | {1 / middle:.1f} | {ratios[0]} | "
            f"{ratios[1]} | {goal} |"
        )


def draw(kept: dict[str, Any], path: Path) -> None:
    """Draw where the time goes, beside the peer's."""
    figure = Figure(figsize=(8.5, 3.2), dpi=110, layout="constrained")
    axes = figure.subplots()
    left = 0.0
    colours = ["#999999", "#56B4E9", "#0072B2", "#CCCCCC", "#009E73", "#F0E442", "#E69F00"]
    colours += ["#D55E00", "#CC79A7", "#882255", "#44AA99", "#117733", "#332288", "#88CCEE"]
    for (name, ms), colour in zip(kept["stages"].items(), colours, strict=False):
        axes.barh(1, ms, left=left, color=colour, label=f"{name} {ms:.1f}")
        left += ms
    for row, name in enumerate(SETTINGS):
        if f"{name} / file" in kept["ms"]:
            ms = kept["ms"][f"{name} / file"]
            axes.barh(-row, ms, color="#444444")
            axes.text(ms, -row, f" {ms:.0f}", va="center")
    axes.text(left, 1, f" {left:.0f}", va="center")
    axes.set_yticks([1, 0, -1], ["spotmill predict", *SETTINGS])
    axes.set_xlabel("ms of one core a frame, from the compressed file")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frames", type=Path, nargs="*")
    parser.add_argument("--models", type=Path)
    parser.add_argument("--geometry", type=Path)
    parser.add_argument("--peakfinder8", type=Path)
    parser.add_argument("--count", type=int, default=10, help="frames")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, help="medians, as JSON")
    parser.add_argument("--drawn", type=Path, nargs=2, help="draw such a JSON as this PNG; stop")
    args = parser.parse_args()
    if args.drawn:
        draw(json.loads(args.drawn[0].read_text()), args.drawn[1])
        return
    torch.set_num_threads(1)
    pipeline = Pipeline.load(args.models)
    given = Given(geometry=read_geometry(args.geometry) if args.geometry else None)
    maker = Maker(given)
    with tempfile.TemporaryDirectory() as folder:
        named = [source.path for place in args.frames for source in sources(place)]
        paths = list(stored(named, Path(folder)))
        found = list(opened(paths, maker, args.count))
        cases = [Case(pipeline, maker, file, event, args.peakfinder8) for file, event in found]
        shape = cases[0].event.image.shape
        print(f"{measuring.machine()}; {len(cases)} frames of {shape[0]} x {shape[1]} pixels")
        times = compared(cases, args.rounds)
        shown(times, args.peakfinder8 is not None)
        parts: Times = {}
        for _ in range(2):
            for case, (file, event) in zip(cases, found, strict=True):
                for name, value in stages(case, pipeline, file, maker, event).items():
                    parts.setdefault(name, []).append(value)
        print(f"\ncandidates a frame: {statistics.median(parts.pop('candidates')):.0f}")
        where = {name: 1e3 * statistics.median(values) for name, values in parts.items()}
        outputs(cases, pipeline)
        where["tables, peaks.cxi"] = 1e3 * outputs(cases, pipeline)
        print("\n| stage | ms |\n|---|---|")
        for name, ms in where.items():
            print(f"| {name} | {ms:.1f} |")
        print(f"| all | {sum(where.values()):.1f} |")
        if args.threads > 1:
            ratios = scaled(paths, given, pipeline, args.threads, args.rounds)
            print(f"\n{args.threads} threads over one, by wall: {spread(ratios)}")
    if args.output:
        medians = {name: 1e3 * statistics.median(values) for name, values in times.items()}
        args.output.write_text(json.dumps({"ms": medians, "stages": where}, indent=1) + "\n")


if __name__ == "__main__":
    main()
