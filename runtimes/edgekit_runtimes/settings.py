"""What a person may ask of a bundle's task for one run."""

from __future__ import annotations

from edgekit.errors import UsageError
from edgekit_runtimes.predictor import Predictor


def set_top_k(predictor: Predictor, top_k: int) -> None:
    """Set how many classes or answers a result has. Raises UsageError for a task without."""
    task = predictor.task
    if not hasattr(task, "top_k") or (task.decides is None and task.takes != "question"):
        raise UsageError(f"--top-k for task {task.name!r} without classes", expected="a classification bundle")
    task.top_k = top_k


def set_fast_decode(predictor: Predictor) -> None:
    """Let large JPEGs be decoded at a fraction of their size. Raises UsageError where the spec does not allow it."""
    from edgekit.preprocess import reducible
    from edgekit.tasks.picture import PictureTask

    task = predictor.task
    if not isinstance(task, PictureTask):
        raise UsageError(f"--fast-decode for task {task.name!r}", expected="a bundle that takes photos")
    if not reducible(task.preprocess):
        how = task.preprocess
        raise UsageError(
            f"--fast-decode for resize = {how.resize!r}, interpolation = {how.interpolation!r}, "
            f"antialias = {str(how.antialias).lower()} in the bundle's spec",
            expected="photos shrunk by an antialiasing bilinear, bicubic or lanczos filter",
            remedy="leave --fast-decode out: it would change what the model sees",
        )
    task.fast_decode = True
