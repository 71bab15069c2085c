"""What one look of the doctor comes to."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failure"]


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it is, and what to do where it is not well."""

    what: str
    state: State
    found: str
    remedy: str = ""

    def line(self) -> str:
        """Return the line."""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.state:<8} {self.what}: {self.found}{remedy}"


def well(what: str, found: str) -> Finding:
    """Return that all is well."""
    return Finding(what, "ok", found)


def doubtful(what: str, found: str, remedy: str) -> Finding:
    """Return that something may go wrong."""
    return Finding(what, "warning", found, remedy)


def broken(what: str, found: str, remedy: str) -> Finding:
    """Return that something will go wrong."""
    return Finding(what, "failure", found, remedy)
