"""What all parts of `evaluation.json` have in common when the report reads them."""

from pydantic import ConfigDict, Field

from spotmill.model import Model

Interval = tuple[float, float]


class Stored(Model):
    """A part of `evaluation.json`; later versions may say more than is read here."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Share(Stored):
    """A share of frames, with its 95 % interval; no value where there were no frames."""

    value: float | None
    n: int = Field(ge=0)
    interval: Interval | None
