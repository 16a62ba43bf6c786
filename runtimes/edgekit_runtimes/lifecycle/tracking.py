"""A bundle in MLflow: logged to a run, registered as a version, downloaded again."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekit.bundle import CHECKSUMS, Bundle, read_checksums
from edgekit.errors import BundleRefused, EdgeKitError, EnvironmentFault, UsageError
from edgekit_runtimes.inputs.uri import redacted
from edgekit_runtimes.lifecycle.place import Pushed, plain_name

_MODEL = "model"
_RUN = re.compile(r"mlflow:(?P<run>[0-9A-Za-z_-]*)(?:/(?P<name>[^/:%\"'`]+))?")
_STORED = re.compile(r"models:/(?:[^/:@]+/[0-9]+|[^/:@]+@[\w.-]+|m-[0-9a-f]{32})|runs:/[0-9A-Za-z_-]+/[^/:%\"'`]+")
_NEW_VERSION = re.compile(r"models:/(?P<name>[^/:@]+)")


def push(bundle: Bundle, target: str) -> Pushed:
    """Log a bundle to MLflow, with its parity as metrics.

    Args:
        bundle: The bundle, checked.
        target: ``mlflow:`` for a new run, ``mlflow:RUN`` for one that is there, either with ``/MODEL``; or
            ``models:/NAME`` for a new run and the next version of a model.

    Raises:
        UsageError: The address is wrong.
        EnvironmentFault: The tracking server cannot be reached or refuses.
    """
    run = _RUN.fullmatch(target)
    version = _NEW_VERSION.fullmatch(target)
    if run is None and version is None:
        raise UsageError(
            f"address {target!r}", expected="mlflow:, mlflow:RUN or models:/NAME: MLflow counts versions itself"
        )
    with _talking(target):
        import mlflow

        from edgekit_runtimes.mlflow import log_model

        with mlflow.start_run(run_id=(run["run"] or None) if run else None) as active:
            info = log_model(
                bundle.path,
                (run and run["name"]) or _MODEL,
                registered_model_name=version["name"] if version else None,
            )
    files = [*read_checksums(bundle.path), CHECKSUMS]
    address = f"mlflow:{active.info.run_id}/{info.name or _MODEL}"
    if version:
        address = f"models:/{version['name']}/{info.registered_model_version}"
    return Pushed(address, sum((bundle.path / name).stat().st_size for name in files), len(files))


def pull(source: str, folder: Path) -> None:
    """Download a bundle from MLflow.

    Args:
        source: ``mlflow:RUN[/MODEL]``, ``models:/NAME/VERSION``, ``models:/NAME@ALIAS`` or ``runs:/RUN/MODEL``.
        folder: An empty folder for the files.

    Raises:
        UsageError: The address is wrong.
        BundleRefused: There is no such model, it is no bundle, or another one than was logged.
        EnvironmentFault: The tracking server cannot be reached or refuses, or the disk is full.
    """
    uri = _uri(source)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}.") as temporary:
        with _talking(source):
            from mlflow.artifacts import download_artifacts

            from edgekit_runtimes.mlflow import bundle_in

            there = bundle_in(Path(download_artifacts(artifact_uri=uri, dst_path=temporary)), source)
        opened = Bundle(there, check=False)
        for name in (*read_checksums(there), CHECKSUMS):
            shutil.copyfile(opened.file(plain_name(name, source)), folder / name)


def _uri(source: str) -> str:
    """The address as MLflow has it."""
    run = _RUN.fullmatch(source)
    if run and run["run"]:
        return f"runs:/{run['run']}/{run['name'] or _MODEL}"
    if not _STORED.fullmatch(source):
        raise UsageError(
            f"address {source!r}", expected="mlflow:RUN[/MODEL], models:/NAME/VERSION or models:/NAME@ALIAS"
        )
    return source


@contextmanager
def _talking(address: str) -> Iterator[None]:
    """Keep MLflow's own reports and links off, and turn what it fails with into this package's errors."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Standard output is for the address alone; and the link has the password of MLFLOW_TRACKING_URI in it.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # 7 of them are minutes without a word
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise _refusal(address, error) from error


def _refusal(address: str, error: Exception) -> EdgeKitError:
    code = getattr(error, "error_code", "")
    text = redacted(str(error).strip().splitlines()[0])[:300]
    if code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND") or "not found" in text:
        return BundleRefused(f"{address} is not there: {text}", remedy="check it, and MLFLOW_TRACKING_URI")
    if code in ("PERMISSION_DENIED", "UNAUTHENTICATED"):
        return EnvironmentFault(
            f"MLflow does not let you at {address}: {text}",
            remedy="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        )
    return EnvironmentFault(
        f"MLflow failed on {address!r}: {text}",
        remedy="set MLFLOW_TRACKING_URI to your MLflow server, e.g. http://HOST:5000, and check that it runs",
    )
