"""Puts what a project's folder is made of into the package; all else is in pyproject.toml."""

import runpy
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
project = runpy.run_path(str(ROOT / "src/spotmill/project.py"))


class BuildWithProject(build_py):
    """Copies the files beside the modules, unless the installation is editable."""

    def run(self) -> None:
        """Copy modules, then the files."""
        super().run()
        if self.editable_mode:
            return
        folder = Path(self.build_lib, "spotmill", project["PACKAGED"])
        # What an earlier build left there may be gone from the tree.
        shutil.rmtree(folder, ignore_errors=True)
        names = project["WIRING"] + project["OWN"] + project["PROGRAM"]
        for file in project["files_below"](ROOT, names):
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, target)


setup(cmdclass={"build_py": BuildWithProject})
