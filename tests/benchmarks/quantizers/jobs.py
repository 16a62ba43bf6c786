"""What is measured: one job is one tool on one network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tests.benchmarks.quantizers.ablation import VARIANTS
from tests.benchmarks.quantizers.networks import NETWORKS, Network

Section = Literal["peers", "calibration", "ablation"]
Environment = Literal["project", "peers"]
FORMATS = ("tflite", "onnx")
CALIBRATED = NETWORKS[0]
"""Whose calibration is measured with few and many samples: MobileNetV2, photos of 224 x 224 pixels."""
FEW, SOME, MANY = 32, 100, 512


@dataclass(frozen=True)
class Job:
    """A piece of work for one child process.

    Attributes:
        title: Name of the tool in the tables.
        form: ``tflite`` or ``onnx``.
        module: Of `tools`; empty for a published file.
        options: For the module's ``ready``.
        recipe: ``int8`` or ``dynamic-int8``.
        environment: Whose interpreter runs it.
        section: Table.
        network: Name of the network.
        published: File relative to the real models, where there is nothing to run.
        artifact: Whether an artifact comes out that is to be measured.
    """

    title: str
    form: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)
    recipe: str = "int8"
    environment: Environment = "project"
    section: Section = "peers"
    network: str = ""
    published: str = ""
    artifact: bool = True

    @property
    def name(self) -> str:
        """What ``--only`` is matched with, and what the result is filed under."""
        return f"{self.section} / {self.network} / {self.form} {self.recipe} / {self.title}"

    @property
    def ours(self) -> bool:
        """Whether edgekit's own quantizer runs."""
        return self.module == "edgekit_quantizer"


TOOLS = (
    Job("TFLiteConverter", "tflite", "tflite_converter"),
    Job("ai-edge-quantizer", "tflite", "ai_edge", {"recipe": "static"}),
    Job("edgekit", "tflite", "edgekit_quantizer", {"form": "tflite"}),
    Job("ONNX Runtime, MinMax", "onnx", "onnx_runtime", {"method": "MinMax"}),
    Job("ONNX Runtime, Percentile", "onnx", "onnx_runtime", {"method": "Percentile"}),
    Job("NNCF", "onnx", "nncf_onnx", {"fast": True}, environment="peers"),
    Job("NNCF, full bias correction", "onnx", "nncf_onnx", {"fast": False}, environment="peers"),
    Job("edgekit", "onnx", "edgekit_quantizer", {"form": "onnx"}),
    Job("ai-edge-quantizer", "tflite", "ai_edge", {"recipe": "dynamic"}, "dynamic-int8"),
    Job("edgekit", "tflite", "edgekit_quantizer", {"form": "tflite", "recipe": "dynamic-int8"}, "dynamic-int8"),
    Job("ONNX Runtime", "onnx", "onnx_runtime", {"method": "dynamic"}, "dynamic-int8"),
    Job("edgekit", "onnx", "edgekit_quantizer", {"form": "onnx", "recipe": "dynamic-int8"}, "dynamic-int8"),
)


def all_jobs() -> list[Job]:
    """Everything, table by table."""
    peers = [job for network in NETWORKS for job in _peers(network)]
    ablation = [job for network in NETWORKS if network.photos or network.attention for job in _ablation(network)]
    return [*peers, *_calibration(), *ablation]


def _peers(network: Network) -> Iterator[Job]:
    for file in network.published:
        yield Job("published file", "tflite", "", network=network.name, published=file)
    for tool in TOOLS:
        if tool.recipe in network.recipes and (network.keras or tool.module != "tflite_converter"):
            yield replace(tool, network=network.name)


def _calibration() -> Iterator[Job]:
    """Few and many samples, all different; then the photos themselves for the comparison of seconds."""

    def job(title: str, form: str, module: str, /, **options: Any) -> Job:
        return Job(title, form, module, options, section="calibration", network=CALIBRATED.name, artifact=False)

    for form in FORMATS:
        for count in (FEW, MANY):
            varied = {"form": form, "part": "varied", "count": count}
            yield job(f"plain inference, {count} samples", form, "inference", **varied)
            yield job(f"calibration, {count} samples", form, "edgekit_quantizer", calibrate=True, **varied)
            yield job(f"whole recipe, {count} samples", form, "edgekit_quantizer", **varied)
        yield job(f"calibration, {SOME} samples", form, "edgekit_quantizer", form=form, calibrate=True)
        yield job(f"whole recipe, {SOME} samples", form, "edgekit_quantizer", form=form)
        yield job(f"low effort, {SOME} samples", form, "edgekit_quantizer", form=form, variant="low effort")
    for count in (FEW, SOME):
        options = {"method": "Percentile", "count": count, "calibrate": True}
        yield job(f"ONNX Runtime Percentile, calibration, {count} samples", "onnx", "onnx_runtime", **options)


def _ablation(network: Network) -> Iterator[Job]:
    for form in FORMATS:
        for variant in VARIANTS:
            options = {"form": form, "variant": variant}
            yield Job(variant, form, "edgekit_quantizer", options, section="ablation", network=network.name)
