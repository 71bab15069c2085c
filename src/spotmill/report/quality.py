"""What evaluations of classes and of several fluxes share: calibration, curves, spots."""

from pydantic import Field, model_validator

from spotmill.report.stored import Interval, Share, Stored


class Bin(Stored):
    """Frames of like probability: what was said, and how often it came true."""

    said: float
    n: int = Field(ge=1)
    true: int = Field(ge=0)
    share: float
    interval: Interval


class Reliability(Stored):
    """Expected calibration error and the reliability curve."""

    error: float
    n: int = Field(ge=1)
    interval: Interval
    bins: list[Bin] = Field(min_length=1)


class Calibration(Stored):
    """A model's calibration, fitted on validation, on the test frames."""

    method: str
    n_validation: int
    of: str
    before: Reliability
    after: Reliability
    holds: bool

    @property
    def words(self) -> str:
        """How far off the probabilities are."""
        low, high = (100 * end for end in self.after.interval)
        return (
            f"probabilities are off by {100 * self.after.error:.1f} % on average (95 % interval "
            f"{low:.1f} to {high:.1f} %, n {self.after.n})"
        )


class Roc(Stored):
    """Points of an ROC curve."""

    false_alarm: list[float]
    recall: list[float]

    @model_validator(mode="after")
    def _is_one_curve(self) -> "Roc":
        if len(self.false_alarm) != len(self.recall):
            raise ValueError("has columns of different lengths; evaluate again")
        return self


class PrecisionRecall(Stored):
    """Points of a precision-recall curve."""

    recall: list[float]
    precision: list[float]

    @model_validator(mode="after")
    def _is_one_curve(self) -> "PrecisionRecall":
        if len(self.precision) != len(self.recall):
            raise ValueError("has columns of different lengths; evaluate again")
        return self


class Spots(Stored):
    """Right answers on frames with so many true spots."""

    first: int = Field(alias="from")
    last: int | None = Field(alias="to")
    n: int = Field(ge=1)
    correct: int = Field(ge=0)
    interval: Interval

    @property
    def words(self) -> str:
        """The numbers of spots."""
        if self.last is None:
            return f"> {self.first - 1}"
        return f"{self.first}" if self.first == self.last else f"{self.first}–{self.last}"


class AtAlarmRate(Stored):
    """Recall at the threshold that lets a fixed share of the blanks through."""

    rate: float
    threshold: float
    n_validation: int
    false_alarms: Share
    recall: Share
