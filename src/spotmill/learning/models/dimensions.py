"""What a network must know of its task."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Dimensions:
    """Sizes that the task gives to a network.

    Attributes
    ----------
    shape
        Of one input tensor.
    outputs
        1 for two classes (the logit of the second), else the number of classes.
    conditions
        Distinct experimental conditions (datasets) among the training frames.
    """

    shape: tuple[int, ...]
    outputs: int
    conditions: int
