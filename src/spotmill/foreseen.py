"""What a plan would fail on once it runs, told beforehand: `spotmill diff` and `spotmill doctor`.

The Snakefile does without, as geometry files take NumPy to read.
"""

from collections.abc import Iterable

from spotmill.errors import SpotmillError
from spotmill.plan import Plan, check_named
from spotmill.tasks import TRUTH


def check_files(plan: Plan) -> None:
    """Check the files that jobs read first: structures are there, geometries can be used.

    Raises
    ------
    SpotmillError
        With the file and what is wrong with it.
    """
    from spotmill.formats.geom import read_geometry

    geometries = {}
    for dataset, row in plan.datasets.items():
        crystal = plan.concept(dataset, "crystal")
        named = plan.structure_files(plan.crystal(dataset))
        for file in named:
            is_cell = file == plan.crystals[plan.crystal(dataset)].cell_file
            check_named(file, f"{crystal}: {'cell_file' if is_cell else 'structure'}")
        path = plan.concept(dataset, "detector")
        if path not in geometries:
            geometries[path] = read_geometry(path)
            geometries[path].detector(clen=row.clen, photon_energy=row.photon_energy)


def check_classes(plan: Plan, tasks: Iterable[str]) -> None:
    """Check that tasks of classes have several to tell apart.

    Raises
    ------
    SpotmillError
        With the task whose datasets are all of one class.
    """
    for name in tasks:
        task = plan.tasks[name]
        if task.scale != "classes" or task.target not in ("photon_energy", "camera_length"):
            continue
        column = TRUTH[task.target]
        datasets = plan.task_datasets(name)
        values = {getattr(plan.datasets[one], column) for one in datasets}
        if len(values) < 2:
            only = ", ".join(f"{value:g}" for value in values)
            raise SpotmillError(
                f"{plan.task_files[name]}: target {task.target}: its datasets "
                f"({', '.join(datasets)}) have only one value of {column}, {only}; add one that "
                "differs, or leave the task out of `tasks`"
            )
