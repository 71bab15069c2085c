"""Numbers that are drawn anew for every frame."""

import math
from contextlib import suppress
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from spotmill.model import Model

Pair = tuple[float, float]

# Of the log: a factor of 22 000.
LARGEST_SPREAD = 10.0


class Distribution(Model):
    """A number, or one law from which it is drawn for each frame."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    constant: float | None = Field(None, description="always this")
    uniform: Pair | None = Field(None, description="[low, high]")
    loguniform: Pair | None = Field(None, description="[low, high] above 0, even in the logarithm")
    normal: Pair | None = Field(None, description="[mean, standard deviation]")
    lognormal: Pair | None = Field(None, description="[median, standard deviation of the log]")
    choice: tuple[float, ...] | None = Field(
        None, description="one of these, all alike", min_length=1
    )

    @model_validator(mode="after")
    def _one_law(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            laws = ", ".join(type(self).model_fields)
            raise ValueError(f"needs a number or one law of {laws}")
        if self.uniform and self.uniform[0] > self.uniform[1]:
            raise ValueError("uniform: low is above high; swap the two")
        if self.loguniform and not 0 < self.loguniform[0] <= self.loguniform[1]:
            raise ValueError("loguniform: needs 0 < low <= high")
        for pair in (self.normal, self.lognormal):
            if pair and pair[1] < 0:
                raise ValueError("a standard deviation is negative; give it without its sign")
        if self.lognormal and self.lognormal[0] <= 0:
            raise ValueError("lognormal: the median must be above 0")
        if self.lognormal and self.lognormal[1] > LARGEST_SPREAD:
            raise ValueError(
                f"lognormal: the standard deviation of the log must not exceed {LARGEST_SPREAD:g}"
            )
        return self

    def draw(self, rng: Any) -> float:
        """Draw a number with a NumPy generator; a constant draws nothing."""
        if self.constant is not None:
            return self.constant
        if self.uniform:
            return float(rng.uniform(*self.uniform))
        if self.loguniform:
            low, high = self.loguniform
            return float(low * (high / low) ** rng.random())
        if self.normal:
            return float(rng.normal(*self.normal))
        if self.lognormal:
            return float(self.lognormal[0] * math.exp(self.lognormal[1] * rng.standard_normal()))
        values = self.choice or ()
        return values[int(rng.integers(len(values)))]

    @property
    def bounds(self) -> Pair:
        """Return the least and the largest number that can be drawn (normal: 6 deviations)."""
        if self.constant is not None:
            return self.constant, self.constant
        if self.uniform or self.loguniform:
            return self.uniform or self.loguniform or (0.0, 0.0)
        if self.normal:
            return self.normal[0] - 6 * self.normal[1], self.normal[0] + 6 * self.normal[1]
        if self.lognormal:
            spread = math.exp(6 * self.lognormal[1])
            return self.lognormal[0] / spread, self.lognormal[0] * spread
        values = self.choice or ()
        return min(values), max(values)


def _from_number(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, str):
        with suppress(ValueError):
            value, is_number = float(value), True
    if is_number:
        return {"constant": value}
    if not isinstance(value, dict | Distribution):
        laws = ", ".join(name for name in Distribution.model_fields if name != "constant")
        raise ValueError(f"must be a number or a law, such as {{uniform: [1, 2]}}; laws: {laws}")
    return value


Drawn = Annotated[Distribution, BeforeValidator(_from_number)]
