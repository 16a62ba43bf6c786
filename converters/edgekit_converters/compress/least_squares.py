"""Least squares for the weights of a layer that lost inputs."""

from __future__ import annotations

import numpy as np

from edgekit.engine import Array

_PRIOR = 0.01
WIDEST = 2048
"""Inputs times taps that are still solved for; the normal matrix has the square of it."""


class LeastSquares:
    """Sums over batches, then the weights and bias that come closest to what is wanted.

    Args:
        size: Inputs times taps.
    """

    def __init__(self, size: int) -> None:
        self._size, self._count = size, 0
        self._products: Array = np.zeros((), np.float64)

    def add(self, taken: Array, wanted: Array) -> None:
        """Add a batch.

        Args:
            taken: What the layer reads at each position, ``[positions, size]``, float32.
            wanted: What it should make of it, ``[positions, outputs]``, float32.
        """
        joined = np.concatenate([taken, np.ones((len(taken), 1), np.float32), wanted], 1)
        self._count += len(joined)
        self._products = self._products + (joined.T @ joined).astype(np.float64)

    def solve(self, before: Array) -> tuple[Array, Array]:
        """Weights and bias, with a prior at the weights as they are.

        Args:
            before: ``[outputs, size]``.

        Returns:
            Weights ``[outputs, size]`` and bias ``[outputs]``, float64.
        """
        size = self._size
        mean = self._products[size] / self._count
        covariance = self._products / self._count - np.outer(mean, mean)
        inputs, crossed = covariance[:size, :size], covariance[:size, size + 1 :]
        damping = _PRIOR * inputs.diagonal().mean() + 1e-12
        normal = inputs + damping * np.eye(size)
        weights = np.linalg.solve(normal, crossed + damping * before.T.astype(np.float64)).T
        return weights, mean[size + 1 :] - weights @ mean[:size]
