"""The user's function for quantization-aware fine-tuning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgekit.errors import InputRefused, UsageError
from edgekit_converters.references import load_reference
from edgekit_converters.sources._files import first_line

SIGNATURE = "tune(model, steps): model a torch.nn.Module or keras.Model, steps an int; it trains the model in place"
Tune = Callable[[Any, int], None]


def training_function(reference: str) -> Tune:
    """Import a training function.

    Args:
        reference: ``module:function``.

    Returns:
        The function, which raises InputRefused when the user's fails.

    Raises:
        UsageError: It is not callable.
        InputRefused: It cannot be imported.
    """
    tune = load_reference(reference)
    if not callable(tune):
        raise UsageError(f"--train {reference}: a {type(tune).__name__}", expected=SIGNATURE)

    def run(model: Any, steps: int) -> None:
        try:
            tune(model, steps)
        except Exception as error:
            raise InputRefused(
                f"--train {reference} failed: {type(error).__name__}: {first_line(error)}",
                expected=SIGNATURE,
                remedy="run it on the float model to see the whole error",
            ) from error

    return run
