"""What made frames, in words with units: for `spotmill explain` and the cards of datasets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spotmill.concepts import Beam, Crystal, Response, Solvent
from spotmill.distributions import Distribution
from spotmill.formats.geom import parse_geometry
from spotmill.model import parse_yaml
from spotmill.randomise import Randomise

ENGINES = {
    "integrated": "integrated: every spot's photons in closed form, spread over pixels by the "
    "response",
    "lattice": "lattice: the lattice sum of a perfect crystal at every pixel, {n} samples of the "
    "spectrum",
    "crystfel": "crystfel: CrystFEL's pattern_sim {version}, {n} samples of the spectrum",
}
PREFIXES = ((1.0, "m"), (1e-3, "mm"), (1e-6, "µm"), (1e-9, "nm"))


def metres(value: float) -> str:
    """Return a length in m with the unit that suits it."""
    for size, name in PREFIXES:
        if abs(value) >= size * 0.9999:
            return f"{value / size:.6g} {name}"
    return f"{value:g} m"


def law(drawn: Distribution, unit: str = "") -> str:
    """Return a distribution in words; `unit` is m, eV, degrees or empty."""

    def told(value: float) -> str:
        return metres(value) if unit == "m" and value else f"{value:g} {unit}".strip()

    if drawn.constant is not None:
        return told(drawn.constant)
    if drawn.uniform:
        return f"drawn evenly from {told(drawn.uniform[0])} to {told(drawn.uniform[1])}"
    if drawn.normal:
        return (
            f"drawn from a normal law of mean {told(drawn.normal[0])} and standard deviation "
            f"{told(drawn.normal[1])}"
        )
    if drawn.loguniform:
        low, high = drawn.loguniform
        return f"drawn from {told(low)} to {told(high)}, even in the logarithm"
    if drawn.lognormal:
        return (
            f"drawn from a lognormal law of median {told(drawn.lognormal[0])}, standard deviation "
            f"of the logarithm {drawn.lognormal[1]:g}"
        )
    return "one of " + ", ".join(told(value) for value in drawn.choice or ())


def beam_words(text: str, source: str | Path) -> str:
    """Return a beam file in words."""
    beam = Beam.parse(parse_yaml(text, source), source)
    percent = f"{100 * beam.bandwidth:g} %"
    spectrum = {
        "tophat": f"a top-hat spectrum of {percent} full width",
        "gaussian": f"a Gaussian spectrum of {percent} full width at half maximum",
        "sase": f"a SASE spectrum of {percent} full width with {beam.n_spikes} spikes",
        "twocolour": f"two lines {beam.separation or 0:g} eV apart, each of {percent}",
        "file": f"the spectrum of {beam.spectrum_file}",
    }[beam.spectrum]
    polarisation = {
        None: "no polarisation factor",
        1.0: "polarised along x (horizontal)",
        0.5: "unpolarised",
    }.get(beam.polarisation, f"{beam.polarisation} polarised along x")
    profile = {
        "bathed": "the whole crystal in its mean fluence",
        "flat": "flat profile, overlap with the crystal computed",
        "gaussian": "Gaussian profile, overlap with the crystal computed",
    }[beam.profile]
    divergence = f", divergence {beam.divergence:g} rad" if beam.divergence else ""
    return (
        f"{beam.nphotons:g} photons a pulse within a radius of {metres(beam.beam_radius)} "
        f"({profile}), {spectrum}{divergence}, {polarisation}"
    )


def crystal_words(parameters: Mapping[str, Any], source: str | Path) -> str:
    """Return crystal and reflections of a shard of peaks in words."""
    crystal = Crystal.parse(parse_yaml(parameters["crystal"], source), source)
    a, b, c, alpha, beta, gamma = parameters["cell"]
    shape = {
        "box": "cubes of edge",
        "sphere": "spheres of diameter",
        "gaussian": "Gaussian clouds of full width at half maximum",
    }[crystal.shape]
    mosaic = crystal.mosaicity
    mosaicity = "" if mosaic.bounds == (0, 0) else f", mosaicity {law(mosaic, 'degrees')}"
    several = ""
    if crystal.per_frame != (0.0, 1.0):
        shares = ", ".join(f"{number}: {share:g}" for number, share in enumerate(crystal.per_frame))
        several = f"; share of frames by number of crystals: {shares}"
    return (
        f"{crystal.name} (structure {crystal.structure}), space group {parameters['space_group']}, "
        f"cell {a:g} {b:g} {c:g} Å, {alpha:g} {beta:g} {gamma:g}°, reflections to "
        f"{parameters['reflections_d_min']:g} Å; {shape} {law(crystal.size, 'm')}{mosaicity}, "
        f"orientations drawn evenly{several}"
    )


def detector_words(text: str, clen: float, source: str | Path) -> str:
    """Return a detector in words."""
    detector = parse_geometry(text, str(source)).detector(clen=clen)
    n_panels = len(detector.panels)
    limit = "" if detector.saturation is None else f", counts up to {detector.saturation} photons"
    return (
        f"{n_panels} panel{'s' if n_panels > 1 else ''} in {detector.shape[0]} x "
        f"{detector.shape[1]} pixels (ss x fs) of {metres(detector.pixel_size)}, "
        f"{100 * float(detector.mask.mean()):.1f} % of them live{limit}"
    )


def response_words(text: str | None, source: str | Path) -> str:
    """Return a detector response in words."""
    if text is None:
        return "ideal (none given)"
    response = Response.parse(parse_yaml(text, source), source)
    parts = [f"Gaussian point spread of {metres(response.point_spread)} standard deviation"]
    if response.charge_sharing:
        wide = metres(response.charge_sharing_spread or 0)
        parts.append(f"{100 * response.charge_sharing:g} % spread over {wide} by shared charge")
    if response.sensor:
        thickness = metres(response.sensor_thickness or 0)
        parts.append(f"{thickness} of {response.sensor.replace('_', ' ')} absorb the photons")
    else:
        parts.append("every photon is counted")
    for name, what in (("dead", ""), ("hot", "hot_rate"), ("noisy", "noisy_rate")):
        share = getattr(response, f"{name}_pixels")
        if share:
            rate = f", {getattr(response, what):g} counts a frame" if what else ""
            parts.append(f"{share:g} of the pixels {name}{rate}")
    if response.zingers:
        parts.append(
            f"{response.zingers:g} stray particles a frame of {response.zinger_photons:g} counts"
        )
    if response.beamstop:
        parts.append(f"a beamstop of {metres(response.beamstop.radius)} radius")
    return "; ".join(parts)


def solvent_words(parameters: Mapping[str, Any], source: str | Path) -> str:
    """Return the background of a shard of expected water, or of blank frames, in words."""
    if "measured" in parameters:
        measured = parameters["measured"]
        files = measured["frames"]
        return (
            f"measured on {len(files)} blank frame{'s' if len(files) > 1 else ''} ({files[0]} "
            f"{'...' if len(files) > 1 else ''}; digest {measured['digest']})".replace(" ;", ";")
        )
    solvent = Solvent.parse(parse_yaml(parameters["solvent"], source), source)
    form = {
        "sheet": f"a sheet {metres(solvent.thickness or 0)} thick",
        "jet": f"a jet of {metres(solvent.radius or 0)} radius",
        "droplet": f"a droplet of {metres(solvent.radius or 0)} radius",
    }[solvent.shape]
    tilt = f", tilted {solvent.tilt:g} degrees" if solvent.tilt else ""
    kept = ["absorption"] * solvent.absorption + ["Compton scattering"] * solvent.compton
    air = solvent.air_upstream + solvent.air_downstream
    return (
        f"water, {form}{tilt}, at {solvent.temperature:g} °C, "
        f"with {' and '.join(kept) if kept else 'neither absorption nor Compton scattering'}"
        + (f", and {metres(air)} of air" if air else "")
    )


RANDOMISED = {
    "photon_energy": ("photon energy shifted by a value", "eV"),
    "clen": ("camera length shifted by a value", "m"),
    "beam_x": ("beam shifted along x by a value", "m"),
    "beam_y": ("beam shifted along y by a value", "m"),
    "tilt_x": ("detector turned about x by an angle", "degrees"),
    "tilt_y": ("detector turned about y by an angle", "degrees"),
    "flux": ("all photons times a factor", ""),
    "signal": ("Bragg photons times a factor", ""),
    "background": ("background times a factor", ""),
    "dead_modules": ("a number of dead panels", ""),
    "halo": ("stray light around the beam of at most so many photons a pixel:", ""),
    "ice": ("rings of ice of at most so many photons a pixel:", ""),
    "slope": ("light that rises across the detector to so many photons a pixel:", ""),
}


def randomise_words(text: str | None, source: str | Path) -> str:
    """Return what differs from frame to frame, besides orientation and noise, in words."""
    drawn = Randomise() if text is None else Randomise.parse(parse_yaml(text, source), source)
    same = Randomise()
    parts = [
        f"{what} {law(getattr(drawn, name), unit)}"
        for name, (what, unit) in RANDOMISED.items()
        if getattr(drawn, name) != getattr(same, name)
    ]
    return "; ".join(parts) if parts else "nothing but orientation and photon noise"


def engine_words(parameters: Mapping[str, Any]) -> str:
    """Return the engine of a shard of peaks in words."""
    return ENGINES[parameters["engine"]].format(
        n=parameters.get("n_wavelengths"), version=parameters.get("crystfel_version")
    )
