"""Draw the figures of docs/physics.md.

    python docs/figures/make_physics_figures.py

Figures 1 and 2 need the frames of pattern_sim in ../shared (beside the repository); without
them they stay as they are.
"""

import math
import sys
from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import reflection_cut  # noqa: E402

from spotmill.formats.atomic import atomic  # noqa: E402
from spotmill.formats.geom import read_geometry  # noqa: E402
from spotmill.formats.reflections import read_reflections  # noqa: E402
from spotmill.physics.diffraction import (  # noqa: E402
    SHARP,
    Source,
    diffract,
    reflection_table,
    scale,
)
from spotmill.physics.footprint import footprint  # noqa: E402
from spotmill.physics.geometry import Detector, Panel, project  # noqa: E402
from spotmill.physics.lattice import FRIEDEL, intensity_transform, lattice_image  # noqa: E402
from spotmill.physics.orientations import random_quaternion, turn_axes  # noqa: E402
from spotmill.physics.photons import stream  # noqa: E402
from spotmill.physics.reflections import expand_to_hemisphere, reciprocal_basis  # noqa: E402
from spotmill.physics.rocking import rocking  # noqa: E402
from spotmill.physics.spectrum import tophat  # noqa: E402
from spotmill.report.style import (  # noqa: E402
    BLACK,
    BLUE,
    GREEN,
    GREY,
    MARKERS,
    VERMILION,
    new_figure,
    styled,
    to_png,
)

FRAMES = {
    "s00": "6 keV, 0.15 m",
    "s04": "7 keV, 0.25 m",
    "s08": "8 keV, 0.35 m",
}
HALF = {"s00": 10, "s04": 12, "s08": 14}
COLOURS = (BLUE, VERMILION, GREEN)
ENERGY, CLEN, FLUENCE = 7000.0, 0.15, 3e8 / (math.pi * 5e-6**2)


def plain(axis) -> None:
    """Label the decades of a logarithmic axis with plain numbers."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def save(figure, name: str) -> None:
    """Write a figure beside this script."""
    with atomic(Path(__file__).with_name(name)) as path:
        path.write_bytes(to_png(figure))
    print(name)


def sums(case, half: int):
    """Return pattern_sim's sum, the cut's and the closed form's for every spot of a frame."""
    rows = []
    for row in range(len(case.spots.photons)):
        where = reflection_cut.box(case, row, half)
        if where is not None:
            cut = reflection_cut.cut(case, row, where).sum()
            rows.append((case.image[where].sum(), cut, case.spots.photons[row]))
    return np.array(rows)


def draw_sums(shared: Path, hemisphere) -> None:
    """Draw spot sums of pattern_sim against what the engines expect."""
    figure = new_figure(10, 3.4)
    left, middle, right = figure.subplots(1, 3)
    for (name, label), marker, colour in zip(FRAMES.items(), MARKERS, COLOURS, strict=False):
        case = reflection_cut.read_case(shared, name, hemisphere)
        measured, cut, closed = sums(case, HALF[name]).T
        left.loglog(closed, measured, marker, mfc="none", mec=colour, ms=4)
        left.loglog(cut, measured, marker, color=colour, ms=4, label=label)
        middle.semilogx(cut, measured / cut, marker, color=colour, ms=4)
    left.plot([0.5, 2e3], [0.5, 2e3], color=GREY, lw=0.8)
    left.set(xlabel="Spotmill, photons in a spot", ylabel="pattern_sim, photons in a spot")
    left.set_title("150 nm crystal: sums")
    left.set_ylim(0.3, 3e4)
    left.legend(
        loc="upper left", title="filled: what the band cuts out\nopen: the whole reflection"
    )
    for axis in (left.xaxis, left.yaxis, middle.xaxis):
        plain(axis)
    middle.axhline(1, color=GREY, lw=0.8)
    middle.set(xlabel="Spotmill, photons in a spot", ylabel="pattern_sim / Spotmill")
    middle.set_ylim(0.97, 1.03)
    middle.set_title("150 nm crystal: ratio")
    ratios = []
    for name in ("p00", "p04", "p08"):
        case = reflection_cut.read_case(shared, name, hemisphere)
        measured, _, closed = sums(case, 4).T
        ratios.append(measured[closed > 5] / closed[closed > 5])
    ratio = np.concatenate(ratios)
    right.hist(np.log10(ratio), bins=np.arange(-3, 2.6, 0.25), color=BLUE)
    right.axvline(0, color=BLACK, lw=1)
    middle_ratio = float(np.median(ratio))
    right.axvline(math.log10(middle_ratio), color=VERMILION, ls="--", lw=1.2)
    right.set_xticks(range(-3, 3), ["0.001", "0.01", "0.1", "1", "10", "100"])
    right.set(xlabel="pattern_sim / closed form", ylabel="reflections")
    right.set_title("10 µm crystal: aliasing")
    right.annotate(
        f"median {middle_ratio:.2g}\nlargest {ratio.max():.3g}\n{len(ratio)} reflections",
        (0.97, 0.95),
        xycoords="axes fraction",
        ha="right",
        va="top",
        fontsize=8.5,
        color=BLACK,
    )
    save(figure, "spot_sums.png")
    print(f"  10 um: median {middle_ratio:.3f}, max {ratio.max():.1f}, n {len(ratio)}")


def crop(detector: Detector, where: tuple[slice, slice]) -> Detector:
    """Return a detector of some pixels of a detector of one panel."""
    (panel,) = detector.panels
    v, u = (part.start for part in where)
    n_ss, n_fs = (part.stop - part.start for part in where)
    corner = panel.corner + u * panel.fs + v * panel.ss
    small = Panel("crop", 0, n_fs - 1, 0, n_ss - 1, corner, panel.fs, panel.ss)
    return Detector((small,), (n_ss, n_fs), np.ones((n_ss, n_fs), bool), detector.clen, None, 1.0)


def three_views(case, hemisphere, row: int, half: int):
    """Return a spot's pixels by pattern_sim, the lattice engine and the integrated engine."""
    where = reflection_cut.box(case, row, half)
    k = reflection_cut.wavenumbers(case)
    volume = abs(np.linalg.det(case.direct))
    small = crop(case.detector, where)
    # scale = fluence r_e^2 N / V, so the fluence follows from the light.
    unit = scale(1.0, math.prod(case.cells) * volume * 1e-30, volume)
    lattice = lattice_image(
        small,
        case.direct,
        case.cells,
        intensity_transform(*hemisphere, FRIEDEL),
        k,
        np.full(7, 1 / 7),
        case.light.scale / unit,
        polarisation=None,
    )
    feet = footprint(case.spots, small, [(0.4 * small.pixel_size, 1.0)])
    integrated = np.bincount(feet.pixel, feet.photons, minlength=lattice.size)
    return case.image[where], lattice, integrated.reshape(lattice.shape), where


def draw_one_spot(shared: Path, hemisphere) -> None:
    """Draw the pixels of one spot by three programs, at two sizes of crystal."""
    figure = new_figure(9.2, 5.8)
    axes = figure.subplots(2, 3)
    titles = ("pattern_sim", "lattice engine", "integrated engine")
    for line, (name, hkl, half, size) in enumerate(
        [("s00", (-9, 16, 5), 10, "150 nm"), ("m04", (-3, -8, -11), 6, "1 µm")]
    ):
        case = reflection_cut.read_case(shared, name, hemisphere)
        row = int(np.flatnonzero((case.spots.hkl == hkl).all(axis=1))[0])
        *views, where = three_views(case, hemisphere, row, half)
        top = max(view.max() for view in views)
        norm = LogNorm(top * 1e-4, top)
        for axis, title, pixels in zip(axes[line], titles, views, strict=True):
            extent = (where[1].start, where[1].stop, where[0].start, where[0].stop)
            shown = axis.imshow(
                np.maximum(pixels, top * 1e-4),
                origin="lower",
                extent=extent,
                norm=norm,
                cmap="cividis",
                interpolation="nearest",
            )
            axis.plot(case.fs[row], case.ss[row], "+", color=VERMILION, ms=11, mew=1.6)
            axis.set_title(title if line == 0 else "")
            axis.text(
                0.04,
                0.95,
                f"{pixels.sum():.4g} photons",
                transform=axis.transAxes,
                color="white",
                va="top",
            )
            axis.set(xlabel="fs, pixels")
            axis.ticklabel_format(useOffset=False)
            axis.locator_params(nbins=5)
        axes[line][0].set_ylabel(f"{size} crystal\nss, pixels")
        bar = figure.colorbar(shown, ax=axes[line], label="photons in a pixel", shrink=0.9)
        plain(bar.ax.yaxis)
    save(figure, "one_spot.png")


def proteinase():
    """Return the reflections of 1IC6."""
    reflections = read_reflections(ROOT / "resources/1ic6.mtz")
    hkl, intensity = expand_to_hemisphere(reflections)
    return reflection_table(hkl, intensity, reciprocal_basis(reflections.cell))


def light(table, width=SHARP, bandwidth: float = 0.01) -> Source:
    """Return 3e8 photons in 5 µm radius on a 10 µm crystal, polarised along x."""
    volume = 1 / abs(float(np.linalg.det(table.axes)))
    return Source(tophat(ENERGY, bandwidth), scale(FLUENCE, 1e-15, volume), 1.0, width)


def eiger() -> Detector:
    """Return the Eiger 4M at 0.15 m."""
    path = ROOT / "config/detectors/eiger4m.geom"
    return read_geometry(path).detector(clen=CLEN, photon_energy=ENERGY)


def part_sum(image, window) -> float:
    """Return the photons in a window (ss, fs)."""
    return float(image[window].sum())


def densest(table, turned, detector: Detector) -> tuple[slice, slice]:
    """Return the window (ss, fs) of 500 x 500 pixels in which a perfect crystal has most spots."""
    panel, fs, ss = project(detector, diffract(table, turned, light(table)).direction)
    fs, ss = fs[panel >= 0], ss[panel >= 0]
    starts = [
        (int(((fs >= u) & (fs < u + 500) & (ss >= v) & (ss < v + 500)).sum()), v, u)
        for v in range(0, detector.shape[0] - 500, 50)
        for u in range(0, detector.shape[1] - 500, 50)
    ]
    _, v, u = max(starts)
    return slice(v, v + 500), slice(u, u + 500)


def draw_broad(table) -> None:
    """Draw a perfect crystal, a mosaic one, and a divergent beam."""
    detector, reach = eiger(), CLEN / 75e-6
    turned = turn_axes(table.axes, random_quaternion(stream(1, "figure", 3, "orientation")))
    cases = {
        "perfect, parallel": SHARP,
        "mosaicity 0.3°": rocking(math.radians(0.3), 0.0, reach),
        "divergence 3 mrad": rocking(0.0, 3e-3, reach),
    }
    window = densest(table, turned, detector)
    figure = new_figure(10, 3.7)
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    for axis, (title, width) in zip(axes, cases.items(), strict=True):
        spots = diffract(table, turned, light(table, width))
        feet = footprint(spots, detector, [(7.5e-5, 1.0)])
        image = np.bincount(feet.pixel, feet.photons, minlength=detector.mask.size)
        image = image.reshape(detector.shape)
        # The brightest of 2 x 2 pixels, so that a spot stays visible in print.
        part = image[window]
        part = part.reshape(part.shape[0] // 2, 2, part.shape[1] // 2, 2).max(axis=(1, 3))
        shown = axis.imshow(
            np.maximum(part, 1e-3),
            origin="lower",
            extent=(window[1].start, window[1].stop, window[0].start, window[0].stop),
            norm=LogNorm(1e-3, 100),
            cmap="cividis",
            interpolation="nearest",
        )
        axis.set_title(title)
        axis.text(
            0.03,
            0.97,
            f"{part_sum(image, window):,.0f} photons here",
            transform=axis.transAxes,
            color="white",
            va="top",
        )
        axis.set(xlabel="fs, pixels")
    axes[0].set_ylabel("ss, pixels")
    bar = figure.colorbar(shown, ax=axes, label="expected photons in a pixel", shrink=0.8)
    plain(bar.ax.yaxis)
    save(figure, "broad_spots.png")


def draw_shells(table) -> None:
    """Draw the mean over orientations in shells of |s|, and how spots are distributed."""
    beam, n = light(table), 1000
    detector = eiger()
    edges = np.linspace(0.02, 0.36, 18)
    totals, recorded = np.zeros((n, len(edges) - 1)), []
    for index in range(n):
        turned = turn_axes(table.axes, random_quaternion(stream(1, "figure", index, "o")))
        spots = diffract(table, turned, beam)
        length = np.linalg.norm(spots.s, axis=1)
        totals[index] = np.histogram(length, edges, weights=spots.photons)[0]
        recorded.append(spots.photons[project(detector, spots.direction)[0] >= 0])
    middles = (edges[1:] + edges[:-1]) / 2
    # Azimuth and the direction of s are uniform: P is 1 - sin^2(2 theta) / 2 on the mean.
    band, length = beam.spectrum, np.sqrt(table.squared)
    nodes, weights = np.polynomial.legendre.leggauss(8)
    expected = np.zeros(len(middles))
    for node, weight in zip(nodes, weights / 2, strict=True):
        k = (band.low + band.high) / 2 + node * (band.high - band.low) / 2
        two_theta = 2 * np.arcsin(np.minimum(length / (2 * k), 1))
        photons = beam.scale * table.intensity / length / k**2 * (1 - np.sin(two_theta) ** 2 / 2)
        expected += weight * np.histogram(length, edges, weights=photons)[0]
    figure = new_figure(9, 3.5)
    left, right = figure.subplots(1, 2)
    left.stairs(expected, edges, color=BLACK, lw=1.2, label="analytic mean")
    error = totals.std(axis=0) / math.sqrt(n)
    left.errorbar(
        middles, totals.mean(axis=0), error, fmt="o", color=BLUE, ms=4, label=f"{n} orientations"
    )
    left.set(ylim=(0, 7000), xlabel="|s| = 1/d, 1/Å", ylabel="photons a pattern, all directions")
    left.set_title("Photons in shells of resolution")
    left.legend()
    values = np.concatenate(recorded)
    bins = np.logspace(-2, 5, 43)
    right.hist(values, bins=bins, color=BLUE)
    right.set(xscale="log", xlabel="expected photons in a spot", ylabel="spots in 1000 patterns")
    right.xaxis.set_major_locator(LogLocator(numticks=8))
    plain(right.xaxis)
    right.axvline(5, color=VERMILION, ls="--", lw=1.2)
    right.set_title("Spots on the Eiger 4M")
    share = (values >= 5).mean()
    right.annotate(
        f"{len(values) / n:.0f} spots a pattern,\n{share:.0%} of 5 photons\nor more (dashed)",
        (0.02, 0.97),
        xycoords="axes fraction",
        ha="left",
        va="top",
        fontsize=8.5,
    )
    save(figure, "photons.png")
    print("  pulls", ((totals.mean(axis=0) - expected) / error).round(1).tolist())


def main() -> None:
    """Draw all figures."""
    shared = ROOT.parent / "shared"
    with styled():
        if shared.is_dir():
            hemisphere = reflection_cut.reference_hemisphere(shared)
            draw_sums(shared, hemisphere)
            draw_one_spot(shared, hemisphere)
        else:
            print("no ../shared: spot_sums.png and one_spot.png stay as they are")
        table = proteinase()
        draw_broad(table)
        draw_shells(table)


if __name__ == "__main__":
    main()
