"""Import the heavy frameworks once, late and without their start-up chatter."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edgekit.errors import EnvironmentFault, MissingExtra


@contextmanager
def quiet_import(name: str) -> Iterator[None]:
    """Silence what a library writes to file descriptor 2, past Python, the first time it is imported."""
    if name in sys.modules:
        yield
        return
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def import_tensorflow() -> Any:
    """Return the ``tensorflow`` module with its C++ and Python start-up logs off.

    Raises:
        MissingExtra: TensorFlow is not installed.
        EnvironmentFault: Keras was already imported with another backend.
    """
    if "tensorflow" not in sys.modules:
        # Read by the C++ side when the library loads; a value that the user set is kept.
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        with quiet_import("tensorflow"):
            import tensorflow
    except ImportError as error:
        raise _missing("tensorflow", error) from error
    tensorflow.get_logger().setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    return tensorflow


def import_keras() -> Any:
    """Return the ``keras`` module, running on TensorFlow.

    Raises:
        MissingExtra: Keras or TensorFlow is not installed.
        EnvironmentFault: Keras was already imported with another backend.
    """
    import_tensorflow()
    try:
        with quiet_import("keras"):
            import keras
    except ImportError as error:
        raise _missing("keras", error) from error
    if keras.backend.backend() != "tensorflow":
        raise EnvironmentFault(
            f"Keras runs on the {keras.backend.backend()} backend in this process",
            expected="the tensorflow backend",
            remedy="set KERAS_BACKEND=tensorflow, or save the model as .keras and convert the file",
        )
    return keras


def import_torch() -> Any:
    """Return the ``torch`` module. Raises MissingExtra when it is not installed."""
    try:
        with quiet_import("torch"):
            import torch
    except ImportError as error:
        raise _missing("torch", error) from error
    return torch


def _missing(name: str, error: ImportError) -> MissingExtra:
    return MissingExtra(
        f"{name} cannot be imported: {error}", expected="the convert extra", remedy="pip install 'edgekit-ai[convert]'"
    )
