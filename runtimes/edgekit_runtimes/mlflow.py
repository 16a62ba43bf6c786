"""Bundles as an MLflow flavour: log, save, load, and predict as an MLflow ``pyfunc`` model.

    import mlflow
    from edgekit_runtimes import mlflow as edgekit_mlflow

    with mlflow.start_run():
        info = edgekit_mlflow.log_model("my-bundle", registered_model_name="person")
    edgekit_mlflow.load_model(info.model_uri).predict("photo.jpg")       # edgekit's predictor, typed results
    mlflow.pyfunc.load_model(info.model_uri).predict(["photo.jpg"])      # a DataFrame

No framework is needed, here or where the model is loaded: its requirements are those of the thin runtime. MLflow 3
reports its own use over the network unless ``MLFLOW_DISABLE_TELEMETRY=true`` or ``DO_NOT_TRACK=true`` is set before it
is imported; that is the importing program's to decide.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.bundle import CHECKSUMS, Bundle, bundle_sha256, read_checksums
from edgekit.errors import BundleRefused
from edgekit_runtimes.lifecycle.card import thin_extras

if TYPE_CHECKING:
    from edgekit_runtimes.lifecycle.pyfunc import PyFunc
    from edgekit_runtimes.predictor import Predictor

FLAVOR_NAME = "edgekit"
DATA = "bundle"
"""Folder of the bundle inside the model's folder."""


def get_default_pip_requirements(bundle: Bundle | None = None) -> list[str]:
    """Return what `pip` installs where a bundle is loaded.

    Args:
        bundle: The bundle; without one, the engines of both formats.
    """
    from importlib.metadata import version

    import mlflow

    formats = list(dict.fromkeys(a.format for a in bundle.artifacts)) if bundle else ["tflite", "onnx"]
    extras = ",".join([*thin_extras(formats, text=bundle is None or bundle.spec.text is not None), "mlflow"])
    return [f"edgekit-ai[{extras}]=={version('edgekit-ai')}", f"mlflow-skinny=={mlflow.__version__}"]


def get_default_conda_env(bundle: Bundle | None = None) -> Any:
    """Return a conda environment with `get_default_pip_requirements`."""
    from mlflow.utils.environment import _mlflow_conda_env

    return _mlflow_conda_env(additional_pip_deps=get_default_pip_requirements(bundle), install_mlflow=False)


def save_model(
    bundle: str | Path,
    path: str | Path,
    *,
    mlflow_model: Any = None,
    signature: Any = None,
    input_example: Any = None,
    model_config: Mapping[str, Any] | None = None,
    conda_env: Any = None,
    pip_requirements: Any = None,
    extra_pip_requirements: Any = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Save a bundle as an MLflow model.

    Args:
        bundle: Folder of the bundle; every file is checked first.
        path: Folder of the model; it must not exist, or be empty.
        mlflow_model: The `mlflow.models.Model` that this flavour is added to; `log_model` gives it.
        signature: Instead of that of the spec; ``False`` for none, with which `predict` takes bare arrays too.
        input_example: Instead of the first golden sample, which only bundles that take arrays have.
        model_config: What `mlflow.pyfunc.load_model` opens it with, unless it is told otherwise: ``engine``,
            ``recipe``, ``threads``, ``options``.
        conda_env: As for MLflow's own flavours.
        pip_requirements: Instead of `get_default_pip_requirements`.
        extra_pip_requirements: In addition to it.
        metadata: Put into the MLmodel file.

    Raises:
        BundleRefused: No bundle, or a damaged one.
    """
    from mlflow import pyfunc
    from mlflow.models import Model
    from mlflow.models.model import MLMODEL_FILE_NAME
    from mlflow.models.utils import _save_example
    from mlflow.utils.environment import _CONDA_ENV_FILE_NAME, _PYTHON_ENV_FILE_NAME, _validate_env_arguments
    from mlflow.utils.file_utils import get_total_file_size
    from mlflow.utils.model_utils import _validate_and_prepare_target_save_path

    from edgekit_runtimes.lifecycle.mlflow_signature import example_of, signature_of

    opened = Bundle(bundle)
    _validate_env_arguments(conda_env, pip_requirements, extra_pip_requirements)
    target = Path(path).absolute()
    _validate_and_prepare_target_save_path(str(target))
    (target / DATA).mkdir()
    for name in (*read_checksums(opened.path), CHECKSUMS):
        shutil.copyfile(opened.file(name), target / DATA / name)

    model = mlflow_model or Model()
    model.signature = signature_of(opened) if signature is None else (signature or None)
    example = example_of(opened) if input_example is None and signature is None else input_example
    if example is not None:
        _save_example(model, example, str(target))
    if metadata is not None:
        model.metadata = dict(metadata)
    pyfunc.add_to_model(
        model,
        loader_module=__name__,
        data=DATA,
        conda_env=_CONDA_ENV_FILE_NAME,
        python_env=_PYTHON_ENV_FILE_NAME,
        # MLflow lets a loader override only what is written here.
        model_config={"engine": None, "recipe": None, "threads": None, "options": None, **(model_config or {})},
    )
    model.add_flavor(FLAVOR_NAME, **_flavor(opened))
    model.model_size_bytes = get_total_file_size(str(target))
    model.save(str(target / MLMODEL_FILE_NAME))
    _write_environment(target, opened, conda_env, pip_requirements, extra_pip_requirements)


def log_model(
    bundle: str | Path, name: str = "model", *, registered_model_name: str | None = None, **options: Any
) -> Any:
    """Log a bundle to MLflow: the model, its parity and sizes as metrics, its spec as tags.

    The metrics go to the active run, where there is one, as ``NAME.RECIPE.FORMAT``: ``agreement.int8.tflite`` (0..1),
    ``relative_l2.…`` of the worst output, ``size_bytes.…``, ``latency_ms.…`` at conversion, and the user's metric under
    its own name, with ``….original`` beside it.

    Args:
        bundle: Folder of the bundle.
        name: Of the model in the run.
        registered_model_name: Register it as the next version of that model.
        **options: As for `save_model`, and for `mlflow.models.Model.log`.

    Returns:
        MLflow's `ModelInfo`.

    Raises:
        BundleRefused: No bundle, or a damaged one.
    """
    import sys

    import mlflow
    from mlflow.models import Model

    from edgekit_runtimes.lifecycle.mlflow_signature import metrics_of, tags_of

    opened = Bundle(bundle)
    flavor = sys.modules[__name__]
    tags = {**tags_of(opened), **(options.pop("tags", None) or {})}
    info = Model.log(
        artifact_path=None,
        flavor=flavor,
        name=name,
        registered_model_name=registered_model_name,
        tags=tags,
        flavor_name=FLAVOR_NAME,
        bundle=bundle,
        **options,
    )
    if info.run_id:
        client = mlflow.MlflowClient()
        for key, value in tags.items():
            client.set_tag(info.run_id, key, value)
        mlflow.log_metrics(metrics_of(opened), run_id=info.run_id, model_id=info.model_id)
    return info


def load_model(model_uri: str, dst_path: str | None = None, **options: Any) -> Predictor:
    """Load a model of this flavour as `edgekit.load` loads a bundle.

    Args:
        model_uri: ``runs:/RUN/model``, ``models:/NAME/VERSION``, ``models:/NAME@ALIAS`` or a path.
        dst_path: Where it is downloaded to; a temporary folder by default.
        **options: ``engine``, ``recipe``, ``threads``, ``options``.

    Raises:
        BundleRefused: The model has not this flavour, or its bundle is damaged.
    """
    from mlflow.tracking.artifact_utils import _download_artifact_from_uri

    from edgekit_runtimes.predictor import load

    folder = Path(_download_artifact_from_uri(artifact_uri=model_uri, output_path=dst_path))
    return load(bundle_in(folder, model_uri), **options)


def bundle_in(folder: Path, model_uri: str) -> Path:
    """Return the folder of the bundle in that of a model.

    Raises:
        BundleRefused: The model has not this flavour, or it is another bundle than the one that was logged.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    try:
        flavors = Model.load(str(folder)).flavors
    except MlflowException as error:
        raise BundleRefused(f"{model_uri} is no MLflow model: {error}") from error
    if FLAVOR_NAME not in flavors:
        raise BundleRefused(
            f"{model_uri} has the flavours {', '.join(sorted(flavors))}",
            expected=f"{FLAVOR_NAME}, as edgekit push or edgekit_runtimes.mlflow.log_model write it",
        )
    logged, found = flavors[FLAVOR_NAME].get("bundle_sha256"), bundle_sha256(folder / DATA)
    if logged != found:
        raise BundleRefused(f"{model_uri} holds a bundle {found}", expected=str(logged), remedy="log it again")
    return folder / DATA


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> PyFunc:
    """Load a bundle for `mlflow.pyfunc.load_model`, which calls this."""
    from edgekit_runtimes.lifecycle.pyfunc import PyFunc
    from edgekit_runtimes.predictor import load

    return PyFunc(load(path, **(model_config or {})))


def _flavor(bundle: Bundle) -> dict[str, Any]:
    about = bundle.manifest
    return {
        "data": DATA,
        "bundle_sha256": bundle_sha256(bundle.path),
        "edgekit_version": about.edgekit_version,
        "schema_version": about.schema_version,
        "model_name": about.name,
        "task": bundle.spec.task,
        "artifacts": [artifact.file for artifact in bundle.artifacts],
    }


def _write_environment(target: Path, bundle: Bundle, conda_env: Any, pip: Any, extra_pip: Any) -> None:
    """Write what MLflow's tools build an environment from."""
    import yaml
    from mlflow.utils import environment

    if conda_env is None:
        default = None if pip is not None else get_default_pip_requirements(bundle)
        conda_env, requirements, constraints = environment._process_pip_requirements(default, pip, extra_pip)
    else:
        conda_env, requirements, constraints = environment._process_conda_env(conda_env)
    texts: Iterator[tuple[str, str]] = iter(
        [
            (environment._CONDA_ENV_FILE_NAME, yaml.safe_dump(conda_env, default_flow_style=False)),
            (environment._REQUIREMENTS_FILE_NAME, "\n".join(requirements) + "\n"),
            *([(environment._CONSTRAINTS_FILE_NAME, "\n".join(constraints) + "\n")] if constraints else []),
        ]
    )
    for name, text in texts:
        (target / name).write_text(text, encoding="utf-8")
    environment._PythonEnv.current().to_yaml(str(target / environment._PYTHON_ENV_FILE_NAME))
