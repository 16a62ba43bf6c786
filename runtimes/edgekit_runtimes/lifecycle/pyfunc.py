"""A predictor behind the interface of MLflow's ``pyfunc``: tables in, tables out."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import DataRefused
from edgekit_runtimes.predictor import Predictor

_AT_ONCE = 16
"""Inputs that are in memory together."""
_ONE = {"picture": (2, 3), "sound": (1,), "row": (1,)}
"""How many dimensions an array has that is one input."""


class PyFunc:
    """What `mlflow.pyfunc.load_model` wraps.

    Args:
        predictor: The open bundle.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def get_raw_model(self) -> Predictor:
        """Return the predictor, as MLflow's ``unwrap_python_model`` and its like do."""
        return self.predictor

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Predict on one or many inputs.

        Args:
            data: A DataFrame with an input a row, a list of inputs, or one input. An input is what the bundle's task
                takes: a path, a ``data:`` URL, the bytes of a file or an array; a sentence; a row; a question with its
                context. For a bundle that takes arrays: input name -> array, batch first.
            params: None are known.

        Returns:
            A DataFrame: a row an input, a column a field of the result; its index is that of the DataFrame given. For a
            bundle whose job edgekit does not know: output name -> array, batch first.

        Raises:
            DataRefused: An input cannot be used; the message names it.
        """
        import pandas as pd

        if params:
            raise DataRefused(f"params {sorted(params)}", expected="none", remedy="set options in model_config")
        task = self.predictor.task
        if task.takes == "arrays":
            outputs = self.predictor.runner.run(task.encode(_arrays(data)))
            if task.decides is None:
                return dict(outputs)
            return pd.DataFrame([result.to_dict() for result in task.decode(outputs)])
        items = [_item(item, task.takes) for item in _items(data, task.takes)]
        results = [result.to_dict() for part in _parts(items) for result in self.predictor.predict_batch(part)]
        index = data.index if isinstance(data, (pd.DataFrame, pd.Series)) else None
        return pd.DataFrame(results, index=index)


def _parts(items: list[Any]) -> Iterator[list[Any]]:
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))


def _arrays(data: Any) -> Any:
    """Named arrays; a table's columns are inputs, its rows samples."""
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        return {str(name): np.stack([np.asarray(cell) for cell in data[name]]) for name in data.columns}
    if isinstance(data, Mapping):
        return {name: np.asarray(array) for name, array in data.items()}
    return np.asarray(data)


def _items(data: Any, takes: str) -> list[Any]:
    """The single inputs in what was given."""
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        if takes not in ("row", "question"):
            return list(data.iloc[:, 0])
        records = data.to_dict("records")
        return [{key: value for key, value in row.items() if not _missing(value)} for row in records]
    if isinstance(data, np.ndarray):
        return [data] if data.dtype.kind in "fiub" and data.ndim in _ONE.get(takes, ()) else list(data)
    return list(data) if isinstance(data, (pd.Series, list, tuple)) else [data]


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _item(item: Any, takes: str) -> Any:
    """One input as the task takes it."""
    if isinstance(item, np.str_):
        item = str(item)
    if takes not in ("picture", "sound"):
        return item
    if isinstance(item, str) and item.startswith("data:"):
        item = _from_url(item)
    if isinstance(item, (bytes, bytearray)) and takes == "picture":
        from edgekit.images import decode_image

        return decode_image(bytes(item), "a picture")
    if isinstance(item, list):  # MLflow hands arrays in a dictionary on as nested lists
        return np.asarray(item, np.uint8 if takes == "picture" else np.float32)
    return item if isinstance(item, (str, Path, bytes, np.ndarray)) else np.asarray(item)


def _from_url(url: str) -> bytes:
    head, _, content = url.partition(",")
    if not head.endswith(";base64"):
        raise DataRefused(f"a URL {head[:40]!r}", expected="data:…;base64,…")
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise DataRefused(f"a damaged data: URL: {error}", expected="base64") from error
