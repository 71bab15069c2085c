"""All that is known of one frame: as plain values, and as lines to read."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spotmill import __version__
from spotmill.config import FIRST_EMPTY
from spotmill.formats.frames import Header
from spotmill.formats.tables import FRAMES, SPOTS, read_table, unit
from spotmill.overlays.opener import open_overlay
from spotmill.physics.units import wavelength_from_photon_energy
from spotmill.provenance import words
from spotmill.provenance.find import Place
from spotmill.recipes import RECIPES

STRONGEST = 10
WHAT = {
    "overlay": "Bragg photons and background",
    "peaks": "Bragg photons alone",
    "labels": "labels: 1 where there are Bragg photons",
    "water": "expected background, photons",
    "blank": "a measured blank frame",
}
# Conditions that are the dataset's own say nothing.
NEUTRAL = dict.fromkeys(("beam_x", "beam_y", "tilt_x", "tilt_y"), 0) | dict.fromkeys(
    ("flux", "signal", "background"), 1
)
CALLED = {
    "photons": "Bragg photons",
    "n_crystals": "crystals",
    "n_saturated": "saturated",
    "flux": "factor on all photons",
    "signal": "factor on Bragg photons",
    "background": "factor on background",
    "artefacts": "detector's own counts",
}
PLANES = ("quaternion", "astar", "bstar", "cstar")


@dataclass(frozen=True)
class Story:
    """What made a frame and what is in it; plain values throughout.

    Attributes
    ----------
    identity, files, image
        Which frame, where it stands, and its size, sum and digest.
    content
        Columns of the frame: spots, photons, orientation, conditions.
    spots
        The strongest of its true spots.
    made
        Concepts in words.
    record
        Versions, recipes, seeds, and the text of every concept.
    warnings
        What may keep the frame from being made again bit for bit.
    """

    identity: dict[str, Any]
    files: dict[str, Any]
    image: dict[str, Any]
    content: dict[str, Any]
    spots: list[dict[str, Any]]
    made: dict[str, str]
    record: dict[str, Any]
    warnings: list[str]


def digest(image: NDArray[Any]) -> str:
    """Return the SHA-256 of an image's values, little-endian and in rows of ss."""
    return hashlib.sha256(
        np.ascontiguousarray(image, image.dtype.newbyteorder("<")).tobytes()
    ).hexdigest()


def frame_digest(place: Place) -> str:
    """Return the SHA-256 of a frame's values."""
    with open_overlay(place.path) as shard:
        return digest(shard.read(place.position))


def tell(place: Place) -> tuple[Story, Header, int]:
    """Return the story of a frame, the header of its shard and the frame's index."""
    with open_overlay(place.path) as shard:
        header = shard.header
        index = int(shard.indices[place.position])
        image = shard.read(place.position)
        live = np.where(shard.mask, image, 0)
        columns = {
            name: _plain(shard.column(name)[place.position])
            for name in shard.columns()
            if name != "index"
        }
    peaks, water = _stages(header)
    identity = {
        "dataset": header.dataset,
        "index": index,
        "name": _name(header, index),
        "kind": header.kind,
        "content": header.content,
    }
    story = Story(
        identity=identity,
        files={
            "shard": place.path.as_posix(),
            "position": place.position,
            "event": f"{place.path.as_posix()}//{place.position}",
            "beside": {what: path.as_posix() for what, path in place.beside.items()},
        },
        image={
            "shape": [int(size) for size in image.shape],
            "dtype": str(image.dtype),
            "photons": _plain(live.sum(dtype=np.float64)),
            "brightest": _plain(live.max()),
            "sha256": digest(image),
        },
        content=_content(place, index, columns),
        spots=_strongest(place, index),
        made=_made(place, header, peaks, water),
        record=_record(header, peaks, water),
        warnings=_warnings(header),
    )
    return story, header, index


def _name(header: Header, index: int) -> str:
    if header.content in ("water", "blank"):
        return f"{WHAT[header.content]} of dataset {header.dataset}"
    if index >= FIRST_EMPTY:
        return f"empty {index - FIRST_EMPTY} of dataset {header.dataset} (index {index})"
    return f"frame {index} of dataset {header.dataset}"


def _stages(header: Header) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """Return what made the peaks and what made the water, of what went into the frame."""
    parameters = header.parameters
    if header.content == "overlay":
        return parameters.get("peaks"), parameters.get("water")
    if header.content == "labels":
        return parameters.get("peaks"), None
    return (parameters, None) if header.content == "peaks" else (None, parameters)


def _plain(value: Any) -> Any:
    """Return a NumPy value as plain Python; NaN, which fills up lists of crystals, is left out."""
    if isinstance(value, np.ndarray):
        return [_plain(x) for x in value if not (value.dtype.kind == "f" and np.isnan(x))]
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _content(place: Place, index: int, columns: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a frame, those of the table of frames beside it included."""
    if "frames" in place.beside:
        rows = read_table(place.beside["frames"], FRAMES).to_pylist()
        row: dict[str, Any] = next((row for row in rows if row["index"] == index), {})
        columns |= {name: value for name, value in row.items() if name != "index"}
    else:
        columns.pop("dead_panels", None)
    return columns


def _strongest(place: Place, index: int) -> list[dict[str, Any]]:
    if "truth" not in place.beside:
        return []
    table = read_table(place.beside["truth"], SPOTS).to_pandas()
    spots = table[table["index"] == index]
    spots = spots.sort_values(["photons", "expected_photons"], ascending=False, kind="stable")
    return [
        {str(name): _plain(value) for name, value in row.items()}
        for row in spots.head(STRONGEST).drop(columns="index").to_dict("records")
    ]


def _made(
    place: Place,
    header: Header,
    peaks: Mapping[str, Any] | None,
    water: Mapping[str, Any] | None,
) -> dict[str, str]:
    source = place.path
    parameters = peaks or water or {}
    told = {}
    if "beam" in parameters:
        told["beam"] = words.beam_words(parameters["beam"], source)
    if peaks:
        told["crystal"] = words.crystal_words(peaks, source)
        told["engine"] = words.engine_words(peaks)
    told["detector"] = words.detector_words(parameters["detector"], header.clen, source)
    told["response"] = words.response_words(parameters.get("response"), source)
    if water:
        told["background"] = words.solvent_words(water, source)
    drawn = header.parameters.get("randomise") or (peaks or {}).get("randomise")
    if header.content not in ("water", "blank"):
        told["from frame to frame"] = words.randomise_words(drawn, source)
    if header.content == "labels":
        told["labels"] = f"1 where there are at least {header.parameters['threshold']} photons"
    return told


def recipes(header: Header) -> dict[str, int]:
    """Return the recipes of the stages that made a shard."""
    stage = {"overlay": "overlay", "labels": "labels", "peaks": "simulate"}
    found = {stage.get(header.content, "water"): header.recipe}
    for name, key in (("simulate", "peaks_recipe"), ("water", "water_recipe")):
        if key in header.parameters:
            found[name] = header.parameters[key]
    return found


def _record(
    header: Header, peaks: Mapping[str, Any] | None, water: Mapping[str, Any] | None
) -> dict[str, Any]:
    seeds = {header.content: header.seed}
    if "peaks_seed" in header.parameters:
        seeds["peaks"] = header.parameters["peaks_seed"]
    return {
        "version": header.version,
        "recipes": recipes(header),
        "seed": seeds,
        "header": asdict(header),
    }


def _warnings(header: Header) -> list[str]:
    found = []
    if header.version != __version__:
        found.append(f"made by Spotmill {header.version}, this is {__version__}")
    for stage, recipe in recipes(header).items():
        if RECIPES[stage] != recipe:
            found.append(
                f"{stage} was recipe {recipe}, this Spotmill computes {RECIPES[stage]}: install "
                f"Spotmill {header.version} to make the frame again bit for bit"
            )
    if "measured" in header.parameters or "measured" in header.parameters.get("water", {}):
        found.append(
            "its background was measured: it is copied, and made again only from the blank frames"
        )
    return found


def lines(story: Story) -> list[str]:
    """Return a story as lines to read."""
    identity, image, files = story.identity, story.image, story.files
    out = [f"{identity['name']}: {WHAT[identity['content']]}"]
    rows = [("file", f"{files['shard']}, number {files['position']} (event //{files['position']})")]
    rows += [(what, path) for what, path in files["beside"].items()]
    ss, fs = image["shape"]
    rows.append(
        (
            "image",
            f"{ss} x {fs} pixels (ss x fs), {image['dtype']}, sum {image['photons']:g}, "
            f"largest {image['brightest']:g}",
        )
    )
    rows.append(("sha256", image["sha256"]))
    out += [*_table(rows), "", "What is in it", *_table(_content_rows(story))]
    if story.spots:
        out += ["", f"Its strongest spots (of {_spot_count(story)})", *_spot_lines(story)]
    out += ["", "How it was made", *_table([*story.made.items(), *_record_rows(story)])]
    return out + [f"  note: {warning}" for warning in story.warnings]


def _table(rows: list[tuple[str, str]]) -> list[str]:
    width = max((len(name) for name, _ in rows), default=0)
    return [f"  {name:<{width}}  {text}" for name, text in rows]


def _spot_count(story: Story) -> str:
    return f"{story.content.get('n_spots', '?')} that count"


def _content_rows(story: Story) -> list[tuple[str, str]]:
    content, header = story.content, story.record["header"]
    made = header["parameters"].get("peaks", header["parameters"])
    rows = []
    if "is_hit" in content:
        rows.append(
            (
                "hit",
                f"{'yes' if content['is_hit'] else 'no'}: {content['n_spots']} spots of at least "
                f"{made['min_photons']} photons; {made['min_spots']} make a hit",
            )
        )
    elif story.identity["kind"] == "empty":
        rows.append(("hit", "no: there is no crystal"))
    energy = content.get("photon_energy", header["photon_energy"])
    wavelength = wavelength_from_photon_energy(energy)
    rows += [
        ("photon energy", f"{energy:.8g} eV (wavelength {wavelength:.6g} Å)"),
        ("camera length", words.metres(content.get("clen", header["clen"]))),
    ]
    told = {"n_spots", "is_hit", "photon_energy", "clen", *PLANES}
    for name, value in content.items():
        if name in told or value == [] or NEUTRAL.get(name) == value:
            continue
        measure = unit(FRAMES, name) if name in FRAMES.names else ""
        measure = "photons" if name in ("background_photons", "artefacts") else measure
        rows.append((CALLED.get(name, name.replace("_", " ")), _figures(value, measure)))
    for name in PLANES:
        size = 4 if name == "quaternion" else 3
        values = content.get(name, [])
        for number in range(0, len(values), size):
            which = f" {number // size}" if len(values) > size else ""
            shown = " ".join(f"{value:.9g}" for value in values[number : number + size])
            rows.append((f"{name}{which}", f"{shown} {unit(FRAMES, name)}".rstrip()))
    return rows


def _figures(value: Any, measure: str) -> str:
    if isinstance(value, list):
        return ", ".join(_figures(x, measure) for x in value)
    if measure == "m" and value:
        return words.metres(value)
    return f"{value:.8g} {measure}".rstrip() if isinstance(value, float | int) else str(value)


def _spot_lines(story: Story) -> list[str]:
    out = ["     h    k    l  photons  expected      d/Å        fs        ss  panel"]
    return out + [
        f"  {spot['h']:4d} {spot['k']:4d} {spot['l']:4d}  {spot['photons']:7g}  "
        f"{spot['expected_photons']:8.2f}  {spot['d']:7.3f}  {spot['fs']:8.2f}  {spot['ss']:8.2f}  "
        f"{spot['panel']}"
        for spot in story.spots
    ]


def _record_rows(story: Story) -> list[tuple[str, str]]:
    record = story.record
    seeds = sorted(set(record["seed"].values()))
    told = ", ".join(f"{stage} {number}" for stage, number in record["recipes"].items())
    return [
        ("seed", ", ".join(map(str, seeds))),
        ("version", f"Spotmill {record['version']}, recipes: {told}"),
    ]
