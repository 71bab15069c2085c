"""Versions of what each stage computes.

A number is raised by hand when the *numbers* that a stage writes change. The rules
pass it as a parameter, so a raised recipe remakes its stage and everything after
it, while a comment, a formatter or a faster loop remakes nothing. The golden tests
(`tests/test_golden.py`) fail when numbers change and the recipe does not.
"""

RECIPES: dict[str, int] = {
    "reflections": 1,
    "geometry": 1,
    "simulate": 1,
    "water": 1,
    "overlay": 1,
    "labels": 1,
    "manifest": 1,
    "check": 1,
    "split": 1,
    "train": 1,
    "evaluate": 1,
    "report": 1,
}
