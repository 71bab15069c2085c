"""Figures of the data: what was made, and whether it is physical."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, SymmetricalLogLocator
from scipy.stats import chi2, norm

from spotmill.physics.geometry import scattering_magnitude
from spotmill.physics.reach import reach
from spotmill.physics.units import wavelength_from_photon_energy
from spotmill.report import style
from spotmill.report.charts import MOST, Line, Panel, chart
from spotmill.report.inputs import Inputs, read_frames
from spotmill.report.names import conditions
from spotmill.report.radial import Profile, radial_profile
from spotmill.report.style import Drawing, new_figure, styled, to_picture
from spotmill.report.verdict import Verdict

EMPTIES_READ = 20
# A dataset fails below this chance among all datasets, half of it in the sum, half in the rings.
CHANCE = 0.01


def dataset_table(inputs: Inputs, profiles: Mapping[str, Profile]) -> pd.DataFrame:
    """Return one row a dataset: conditions, counts, spots and photons."""
    rows = []
    for name, dataset in inputs.datasets.items():
        crystals, profile = inputs.frames(name, "crystal"), profiles[name]
        hits = int(crystals["is_hit"].sum())
        ratio, sigma = profile.ratio
        chi_square, rings = profile.chi_square
        low, high = accepted(rings, len(inputs.datasets))
        wavelength = wavelength_from_photon_energy(dataset.photon_energy)
        d_edge, d_corner = reach(inputs.detector(name), wavelength)
        rows.append(
            {
                "dataset": name,
                "photon_energy": dataset.photon_energy,
                "clen": dataset.clen,
                "d_edge": d_edge,
                "d_corner": d_corner,
                "patterns": len(crystals),
                "empties": len(inputs.frames(name, "empty")),
                "hits": hits,
                "hit_fraction": hits / len(crystals) if len(crystals) else np.nan,
                "median_spots": crystals["n_spots"].median(),
                "mean_bragg_photons": crystals["photons"].mean(),
                "expected_water_photons": profile.expected_total,
                "measured_water_photons": profile.total if profile.frames else np.nan,
                "empties_measured": profile.frames,
                "water_ratio": ratio,
                "water_ratio_sigma": sigma,
                "water_chi_square": chi_square,
                "water_rings": rings,
                "water_chi_square_low": low,
                "water_chi_square_high": high,
            }
        )
    return pd.DataFrame(rows)


def accepted(rings: int, datasets: int) -> tuple[float, float]:
    """Return between which values χ² of so many rings is luck, given so many datasets."""
    if not rings:
        return float("nan"), float("nan")
    tail = CHANCE / 4 / datasets
    return float(chi2.ppf(tail, rings)), float(chi2.isf(tail, rings))


def judge_water(inputs: Inputs, table: pd.DataFrame) -> Verdict | None:
    """Judge whether the empties are as the water image expects, in sum and ring by ring.

    A dataset fails below one chance in a hundred among all datasets: where its sum is too far from
    the expected, or its rings scatter more, or less, than photons do. None where no empty of fixed
    settings is known: settings that vary from frame to frame vary the background, too.
    """
    fixed = [
        not (inputs.datasets[n].randomise or inputs.config.randomise) for n in table["dataset"]
    ]
    known = table[np.array(fixed, dtype=bool) & (table["water_rings"] > 0)]
    if known.empty:
        return None
    distance = ((known["water_ratio"] - 1) / known["water_ratio_sigma"]).abs()
    farthest = float(norm.isf(CHANCE / 4 / len(known)))
    rings = known["water_rings"].to_numpy()
    low, high = np.array([accepted(n, len(known)) for n in rings.tolist()]).T
    chi_square = known["water_chi_square"].to_numpy()
    off = (distance > farthest) | (chi_square < low) | (chi_square > high)
    names = known.loc[off, "dataset"].tolist()
    scatter = chi_square / rings
    words = (
        f"measured / expected water photons {known['water_ratio'].min():.4f} to "
        f"{known['water_ratio'].max():.4f} in {len(known)} datasets, at most "
        f"{distance.max():.1f} standard deviations from 1 (accepted: up to {farthest:.1f}); "
        f"ring by ring χ² / rings {scatter.min():.2f} to {scatter.max():.2f} (accepted: "
        f"{(low / rings).max():.2f} to {(high / rings).min():.2f})"
    )
    return Verdict(
        not names, (words, *(f"dataset {name} is off by more than luck" for name in names))
    )


def measure_water(inputs: Inputs) -> dict[str, Profile]:
    """Return the radial profile of the first empties of every dataset."""
    profiles = {}
    for name, dataset in inputs.datasets.items():
        water = inputs.water(name)
        wavelength = wavelength_from_photon_energy(dataset.photon_energy)
        s = scattering_magnitude(inputs.detector(name), wavelength)
        rows = inputs.frames(name, "empty").sort_values("index").head(EMPTIES_READ)
        profiles[name] = radial_profile(read_frames(rows), water.photons, water.mask, s)
    return profiles


def draw_datasets(inputs: Inputs, table: pd.DataFrame) -> Drawing:
    """Draw counts, spots and photons of every dataset."""
    names = list(inputs.datasets)
    with styled():
        figure = new_figure(10, 1.6 + 0.34 * len(names))
        counts, spots, photons = figure.subplots(1, 3, sharey=True)
        _draw_counts(counts, table)
        crystals = [inputs.frames(name, "crystal") for name in names]
        _draw_spread(spots, [rows["n_spots"] for rows in crystals], "true spots per pattern")
        _draw_spread(photons, [rows["photons"] for rows in crystals], "Bragg photons per pattern")
        spots.axvline(inputs.hit.min_spots, color=style.VERMILION, linestyle="--", linewidth=1)
        spots.set_title(f"Spots (dashed: {inputs.hit.min_spots} make a hit)")
        photons.set_title("Photons in spots")
        labels = [f"{name}  ({conditions(inputs, name)})" for name in names]
        counts.set_yticks(range(len(names)), labels)
        counts.invert_yaxis()
        picture = to_picture(figure)
    return Drawing(
        "datasets",
        "The datasets at a glance",
        "Bars: hits, patterns that are no hits, and empties of each dataset. Beside them the "
        "spread of true spots and of Bragg photons per pattern.",
        f"A spot counts from {inputs.hit.min_photons} drawn photons. Boxes span the middle half "
        "of the patterns, the line is the median, whiskers reach the 5th and 95th percentile.",
        picture,
        table,
    )


def _draw_counts(axes: Axes, table: pd.DataFrame) -> None:
    y, left = np.arange(len(table)), np.zeros(len(table))
    misses = table["patterns"] - table["hits"]
    for label, values, colour, hatch in (
        ("hits", table["hits"], style.BLUE, ""),
        ("patterns, no hit", misses, style.SKY, "///"),
        ("empties", table["empties"], "#dddddd", ""),
    ):
        axes.barh(y, values, left=left, color=colour, hatch=hatch, edgecolor="white", label=label)
        left = left + values.to_numpy()
    axes.set_xlabel("frames")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_title("Frames", pad=22)
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 0.985), ncols=3, handlelength=1, columnspacing=1
    )


def _draw_spread(axes: Axes, values: Sequence["pd.Series[float]"], label: str) -> None:
    shown = [(place, v.to_numpy()) for place, v in enumerate(values) if len(v)]
    axes.boxplot(
        [v for _, v in shown],
        positions=[place for place, _ in shown],
        orientation="horizontal",
        whis=(5, 95),
        widths=0.55,
        manage_ticks=False,
        # Of very many patterns those outside the whiskers would be a band.
        showfliers=max((len(v) for _, v in shown), default=0) <= MOST,
        flierprops={"marker": ".", "markersize": 3, "markeredgecolor": style.GREY},
        medianprops={"color": style.VERMILION, "linewidth": 1.8},
        boxprops={"color": style.BLUE},
        whiskerprops={"color": style.BLUE},
        capprops={"color": style.BLUE},
    )
    axes.set_xscale("symlog", linthresh=10)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=10))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel(label)


def draw_radial(inputs: Inputs, profiles: Mapping[str, Profile]) -> Drawing:
    """Draw measured and expected water of every dataset against q."""
    names = list(inputs.datasets)
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    data = []
    with styled():
        figure = new_figure(10, 0.9 + 2.4 * rows)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
        for axes, name in zip(grid.flat, names, strict=False):
            profile = profiles[name]
            _draw_profile(axes, profile)
            axes.set_title(f"{name}   {conditions(inputs, name)}")
            data.append(_profile_table(name, profile))
        for axes in list(grid.flat)[len(names) :]:
            axes.set_visible(False)
        figure.supxlabel("q = 4π sin θ / λ   (1/Å)", fontsize=9.5)
        figure.supylabel("photons per pixel and frame", fontsize=9.5)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)
        picture = to_picture(figure)
    return Drawing(
        "radial_profiles",
        "Frames without a crystal against the expected water",
        "One panel a dataset: photons per pixel against q; measured dots on the expected line.",
        f"Dots: mean of the first {EMPTIES_READ} empties (or as many as there are) with the "
        "Poisson uncertainty to expect; line: the expected water image. Water scatters most "
        "strongly at about q = 2/Å (d ≈ 3.1 Å); where the detector reaches that far, the ring "
        "must show.",
        picture,
        pd.concat(data, ignore_index=True),
        chart(
            [
                Panel(_profile_lines(profiles[name]), "q, 1/Å", "photons per pixel",
                      f"{name}   {conditions(inputs, name)}", {}, {"rangemode": "tozero"})
                for name in names
            ],
            columns=3,
            height=280,
        ),
    )  # fmt: skip


def _profile_lines(profile: Profile) -> list[Line]:
    ring = profile.pixels > 0
    q, expected = profile.q[ring], profile.expected[ring]
    lines = [Line("expected water", q, expected, style.VERMILION, mode="lines")]
    if profile.frames:
        measured, sigma = profile.measured[ring], profile.sigma[ring]
        lines.append(
            Line("measured in empties", q, measured, style.BLUE, mode="markers",
                 low=measured - sigma, high=measured + sigma, size=4)
        )  # fmt: skip
    return lines


def _draw_profile(axes: Axes, profile: Profile) -> None:
    ring = profile.pixels > 0
    axes.plot(
        profile.q[ring], profile.expected[ring], color=style.VERMILION, label="expected", zorder=3
    )
    if profile.frames:
        axes.errorbar(
            profile.q[ring],
            profile.measured[ring],
            profile.sigma[ring],
            fmt="o",
            markersize=2.6,
            linewidth=0.8,
            color=style.BLUE,
            label="measured in empties",
        )
    else:
        axes.annotate("no empties", (0.5, 0.5), xycoords="axes fraction", ha="center")
    axes.set_ylim(bottom=0)


def _profile_table(name: str, profile: Profile) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "dataset": name,
            "q_per_angstrom": profile.q,
            "pixels": profile.pixels,
            "measured_photons_per_pixel": profile.measured,
            "sigma": profile.sigma,
            "expected_photons_per_pixel": profile.expected,
            "frames": profile.frames,
        }
    )
