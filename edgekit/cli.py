"""The `edgekit` command: a verb is imported when it is called, so a board needs no converter and help is instant."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import NoReturn

import click

from edgekit.errors import EdgeKitError, MissingExtra
from edgekit.signals import exit_code, terminable

VERBS = {
    "convert": ("edgekit_converters.cli:convert", "Turn a trained model into a bundle of TFLite and ONNX artifacts."),
    "inspect": ("edgekit_converters.inspection.cli:inspect", "Show what is inside a model file or a bundle."),
    "compare": ("edgekit_converters.compare.cli:compare", "Show which layers carry an artifact's error."),
    "compress": (
        "edgekit_converters.compress.cli:compress",
        "Prune a trained model, recovering from the original.",
    ),
    "plan": ("edgekit_converters.plan.cli:plan", "Choose the variant that fits a budget of latency, size and memory."),
    "report": ("edgekit_converters.report.cli:report", "Write one HTML page that explains bundles."),
    "export": ("edgekit_converters.exporting.cli:export", "Write a bundle's TFLite model as C source."),
    "run": ("edgekit_runtimes.cli:run", "Run a bundle on photos, videos, cameras, text or arrays."),
    "demo": ("edgekit_runtimes.demo:demo", "Show a camera with a bundle's answers, live."),
    "verify": ("edgekit_runtimes.cli:verify", "Prove that this machine gives the original model's answers."),
    "doctor": (
        "edgekit_runtimes.doctor.cli:doctor",
        "Say what this machine has, what is wrong with it, and how to mend it.",
    ),
    "bench": ("edgekit_runtimes.bench.cli:bench", "Measure load, latency, memory and operators, honestly."),
    "device": ("edgekit_runtimes.remote.cli:device", "Know boards by name, and reach them over SSH."),
    "deploy": ("edgekit_runtimes.remote.cli:deploy", "Put a bundle on a board; only what changed is sent."),
    "service": ("edgekit_runtimes.service.cli:service", "Run a bundle for months under systemd, watched and updated."),
    "push": ("edgekit_runtimes.lifecycle.cli:push", "Put a bundle into a registry: OCI, Hugging Face or MLflow."),
    "pull": ("edgekit_runtimes.lifecycle.cli:pull", "Fetch a bundle from a registry and check it."),
    "serve": ("edgekit_runtimes.serve.cli:serve", "Serve bundles over HTTP with the Open Inference Protocol v2."),
}
_EXTRAS = {
    "ai_edge_litert": "litert",
    "huggingface_hub": "hub",
    "mlflow": "mlflow",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "oras": "oci",
    "pandas": "mlflow",
    "prometheus_client": "serve",
    "pyarrow": "parquet",
    "python_multipart": "serve",
    "ray": "ray",
    "starlette": "serve",
    "tokenizers": "text",
    "uvicorn": "serve",
}
_CONVERT_MODULES = (
    "tensorflow", "keras", "torch", "litert_torch", "onnx", "onnxscript", "tf2onnx", "ai_edge_quantizer", "safetensors",
    "flatbuffers", "h5py", "jinja2", "matplotlib", "torch_pruning", "torchao",
)  # fmt: skip


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of a user's work."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of a verb."""
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, text) for verb, (_, text) in VERBS.items()])


def _print_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        click.echo(f"edgekit {version('edgekit-ai')}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
@click.pass_context
def group(ctx: click.Context, debug: bool) -> None:
    """Take a trained model to a Raspberry Pi, a Jetson or a phone, with proof that its answers stay the same.

    Exit codes: 0 done, 2 usage, 3 input refused, 4 parity or quality not met, 5 something missing on this
    machine, 6 finished with some items failed. Ctrl-C gives 130 and SIGTERM 143, with nothing half written.
    """
    ctx.obj = {"debug": debug}


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the `edgekit` command; exits with the documented code."""
    words = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in words
    # --debug may stand after the verb too, where people type it.
    words = (["--debug"] if debug else []) + [word for word in words if word != "--debug"]
    try:
        with terminable():
            code = int(group.main(words, prog_name="edgekit", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort) as stop:
        click.echo("interrupted; nothing was published", err=True)
        code = exit_code(stop.__cause__ or stop)  # click turns it into its own
    except (EdgeKitError, ImportError) as error:
        if debug:
            raise
        code = _report(error)
    if arguments is None:
        _leave(code)
    sys.exit(code)


def _leave(code: int) -> NoReturn:
    """End the process without taking the interpreter apart.

    That takes as long as importing OpenCV, and native libraries have crashed in it after all work was done.
    """
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    with suppress(BrokenPipeError):
        sys.stderr.flush()
    os._exit(code)


def _report(error: EdgeKitError | ImportError) -> int:
    """Print an error in a line or two; return its exit code."""
    known = error if isinstance(error, EdgeKitError) else _missing(error)
    click.echo(f"error: {known}", err=True)
    return known.exit_code


def _missing(error: ImportError) -> EdgeKitError:
    """Say which extra brings a module that is not installed."""
    name = (error.name or "").partition(".")[0]
    extra = "convert" if name in _CONVERT_MODULES else _EXTRAS.get(name)
    if extra is None or not isinstance(error, ModuleNotFoundError):
        raise error
    return MissingExtra(f"this needs {name}, which is not installed", remedy=f"pip install 'edgekit-ai[{extra}]'")


if __name__ == "__main__":
    main()
