"""Measure the signal of one pattern, beside a plain NumPy prototype of the same closed form.

    python benchmarks/one_pattern.py

1IC6, 10 micron, 1 % top-hat, 7 keV, 0.15 m, Eiger 4M, one core. The prototype is what one
writes first: every reflection, every spot's window of pixels, no compiled code.
"""

from dataclasses import replace

# isort: off
from measuring import CLEN, CONFIG, DATASET, ENERGY, REFLECTIONS, SEED, machine, spent

# isort: on
import numpy as np
from scipy.special import erf

from spotmill.concepts import Beam, Crystal, Response
from spotmill.formats.geom import read_geometry
from spotmill.formats.reflections import read_reflections
from spotmill.physics.conditions import Conditions, draw_conditions
from spotmill.physics.diffraction import reflection_table, scale
from spotmill.physics.footprint import SPREAD_WIDTH
from spotmill.physics.geometry import max_scattering
from spotmill.physics.illumination import crystal_volume, lit_fraction, projected_width
from spotmill.physics.orientations import random_quaternion, turn_axes
from spotmill.physics.pattern import Scene, draw_spectrum, make_pattern
from spotmill.physics.photons import stream
from spotmill.physics.reflections import expand_to_hemisphere, reciprocal_basis
from spotmill.physics.response import detection_at, spread_components
from spotmill.randomise import Randomise


def make_scene() -> Scene:
    response = Response.read(CONFIG / "detectors/eiger4m.yaml")
    detector = read_geometry(CONFIG / "detectors/eiger4m.geom").detector(
        clen=CLEN, photon_energy=ENERGY
    )
    reflections = read_reflections(REFLECTIONS)
    hkl, intensity = expand_to_hemisphere(reflections)
    table = reflection_table(hkl, intensity, reciprocal_basis(reflections.cell))
    scene = Scene(
        detector,
        spread_components(response),
        lambda where, energy, pixel: detection_at(where, response, energy, pixel),
        table,
        Beam.read(CONFIG / "beams/cxls.yaml"),
        Crystal.read(CONFIG / "crystals/proteinase_k.yaml"),
    )
    band = draw_spectrum(scene, ENERGY, (0, "", 0))
    within = table.within(max_scattering(detector, 1.0 / band.high))
    return replace(scene, reflections=within)


class Prototype:
    """The closed form in plain NumPy."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        table = scene.reflections
        self.hkl = np.concatenate([table.hkl, -table.hkl])
        self.intensity = np.tile(table.intensity, 2)
        beam, crystal = scene.beam, scene.crystal
        self.size = crystal.size.draw(stream(SEED, DATASET, 0, "size"))
        lit = lit_fraction(crystal.shape, self.size, beam.profile, beam.beam_radius, beam.offset)
        fluence = beam.nphotons / (np.pi * beam.beam_radius**2) * lit
        volume = crystal_volume(crystal.shape, self.size)
        self.scale = scale(fluence, volume, scene.cell_volume)

    def image(self, index: int) -> np.ndarray:
        """Return the expected photons of a pattern, [ss, fs]."""
        scene = self.scene
        quaternion = random_quaternion(stream(SEED, DATASET, index, "orientation"))
        s = self.hkl @ turn_axes(scene.reflections.axes, quaternion)
        squared = (s**2).sum(1)
        with np.errstate(divide="ignore"):
            k = -squared / (2 * s[:, 2])
        band = draw_spectrum(scene, ENERGY, (SEED, DATASET, index))
        on = (k > band.low) & (k <= band.high)
        s, squared, k = s[on], squared[on], k[on]
        ray = s / k[:, None] + [0, 0, 1]
        photons = self.scale * self.intensity[on] * band.density(k) / (squared / 2)
        photons *= 1 - ray[:, 0] ** 2  # polarised along x
        return self.spread(ray, photons)

    def spread(self, ray: np.ndarray, photons: np.ndarray) -> np.ndarray:
        detector = self.scene.detector
        image = np.zeros(detector.shape)
        ((component, _),) = self.scene.spread
        width = np.hypot(component, projected_width(self.scene.crystal.shape, self.size))
        for panel in detector.panels:
            # corner + u fs + v ss = t ray, solved for u / t, v / t and 1 / t.
            plane = np.stack([panel.fs, panel.ss, panel.corner], axis=1)
            u, v, near = np.linalg.solve(plane, ray.T)
            u, v = u / near, v / near
            sigma = width / np.linalg.norm(panel.fs)
            half = int(np.ceil(SPREAD_WIDTH * sigma))
            for x, y, n in zip(u, v, photons, strict=True):
                if not (-half <= x < panel.n_fs + half and -half <= y < panel.n_ss + half):
                    continue
                edges = np.arange(-half, half + 2)
                fs, ss = int(np.floor(x)) + edges, int(np.floor(y)) + edges
                across = np.diff(erf((fs - x) / (sigma * np.sqrt(2)))) / 2
                down = np.diff(erf((ss - y) / (sigma * np.sqrt(2)))) / 2
                keep_fs = (fs[:-1] >= 0) & (fs[:-1] < panel.n_fs)
                keep_ss = (ss[:-1] >= 0) & (ss[:-1] < panel.n_ss)
                rows = panel.min_ss + ss[:-1][keep_ss]
                columns = panel.min_fs + fs[:-1][keep_fs]
                share = np.outer(down[keep_ss], across[keep_fs])
                image[np.ix_(rows, columns)] += n * share
        return image * detector.mask


def main() -> None:
    scene = make_scene()
    prototype = Prototype(scene)

    def conditions(index: int) -> Conditions:
        return draw_conditions(Randomise(), ENERGY, CLEN, SEED, DATASET, index)

    def ours(index: int, dtype: type | None = None) -> np.ndarray:
        image = make_pattern(scene, conditions(index), (SEED, DATASET, index), None, dtype).image
        return np.asarray(image)

    for index in range(3):
        expected, plain = ours(index), prototype.image(index)
        np.testing.assert_allclose(expected, plain, rtol=1e-4, atol=1e-9 * plain.max())
    print(f"{machine()}; one core; 1IC6, 7 keV, 0.15 m, Eiger 4M; medians\n")
    print("| signal of one pattern | wall, ms | CPU, ms |")
    print("|---|---|---|")
    rows = {
        "spotmill, expected photons (float32 image, spots)": spent(ours),
        "spotmill, drawn photons (uint16 image, spots)": spent(lambda i: ours(i, np.uint16)),
        "plain NumPy prototype, expected photons": spent(prototype.image, repeats=9),
    }
    for name, (wall, cpu, _) in rows.items():
        print(f"| {name} | {1e3 * wall:.2f} | {1e3 * cpu:.2f} |")
    print(
        "| CrystFEL 0.10.2 pattern_sim, 1 / 7 wavelengths (stated, not run) | | 78 000 / 545 000 |"
    )


if __name__ == "__main__":
    main()
