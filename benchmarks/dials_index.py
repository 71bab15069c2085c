"""Index the peaks of stills by DIALS; indexing_dials.py runs this with DIALS's own Python.

    python dials_index.py imported.expt peaks.json SPACE_GROUP a,b,c,alpha,beta,gamma

peaks.json has, for each still, `peaks` [[fs, ss, photons], ...] (a pixel's centre is at a half)
and `truth` [[h, k, l, fs, ss], ...]. Prints a JSON list: for each still null, or the share of its
true spots for which the crystal found gives whole indices within NEAR that one matrix of whole
numbers takes to their own (an indexer chooses its axes, the symmetry leaves several choices).
"""

import json
import logging
import sys
from pathlib import Path

import numpy as np
from dials.algorithms.indexing import DialsIndexError, indexer
from dials.array_family import flex
from dials.command_line.index import phil_scope
from dxtbx.model import ExperimentList
from dxtbx.model.experiment_list import ExperimentListFactory
from libtbx.phil import parse

NEAR = 0.15
# Each still by itself; geometry is right as it comes. The indexer for stills wants a part of cctbx
# (xfel_mono_sim_ext) that Debian's packages lack.
CHOICE = """
indexing.known_symmetry.space_group = {group}
indexing.known_symmetry.unit_cell = {cell}
indexing.stills.indexer = sequences
indexing.method = real_space_grid_search
refinement.parameterisation.detector.fix = all
refinement.parameterisation.beam.fix = all
indexing.nproc = 1
"""


def main():
    imported, peaks, group, cell = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    params = phil_scope.fetch(parse(CHOICE.format(group=group, cell=cell))).extract()
    experiments = ExperimentListFactory.from_json_file(imported, check_format=False)
    stills = json.loads(Path(peaks).read_text())
    print(
        json.dumps(
            [
                index(ExperimentList([experiment]), still, params)
                for experiment, still in zip(experiments, stills, strict=False)
            ]
        )
    )


def index(experiments, still, params):
    """Return the share of true spots that the crystal explains, or None where there is none."""
    if not still["peaks"]:
        return None
    try:
        found = indexer.Indexer.from_parameters(
            table(experiments, still["peaks"]), experiments, params=params
        )
        found.index()
    # Too few peaks, or none that fits, come as one or the other.
    except (DialsIndexError, RuntimeError, AssertionError, ValueError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return None
    if not len(found.refined_experiments):
        return None
    return agreement(found.refined_experiments[0], still["truth"])


def table(experiments, peaks):
    """Return peaks as strong reflections of one still."""
    made = flex.reflection_table.empty_standard(len(peaks))
    made["id"] = flex.int(len(peaks), 0)
    made["imageset_id"] = flex.int(len(peaks), 0)
    made["panel"] = flex.size_t(len(peaks), 0)
    made["xyzobs.px.value"] = flex.vec3_double([(fs, ss, 0.5) for fs, ss, _ in peaks])
    made["xyzobs.px.variance"] = flex.vec3_double(len(peaks), (0.1, 0.1, 0.1))
    made["intensity.sum.value"] = flex.double([photons for *_, photons in peaks])
    made["intensity.sum.variance"] = flex.double([max(photons, 1) for *_, photons in peaks])
    made["bbox"] = flex.int6(
        [(int(fs) - 2, int(fs) + 3, int(ss) - 2, int(ss) + 3, 0, 1) for fs, ss, _ in peaks]
    )
    made["flags"] = flex.size_t(len(peaks), int(made.flags.strong))
    made.experiment_identifiers()[0] = experiments[0].identifier
    return made


def agreement(experiment, truth):
    """Return the share of true spots whose indices come back, up to a choice of axes."""
    s0 = np.array(experiment.beam.get_s0())
    hkl = np.array([row[:3] for row in truth], float)
    ray = np.array([experiment.detector[0].get_pixel_lab_coord(row[3:]) for row in truth])
    q = np.linalg.norm(s0) * ray / np.linalg.norm(ray, axis=1, keepdims=True) - s0
    found = q @ np.linalg.inv(np.array(experiment.crystal.get_A()).reshape(3, 3)).T
    turn = np.rint(np.linalg.lstsq(hkl, found, rcond=None)[0])
    if abs(abs(np.linalg.det(turn)) - 1) > 1e-6:
        return 0.0
    return float((np.abs(found - hkl @ turn) < NEAR).all(1).mean())


main()
