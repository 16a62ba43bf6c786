"""Tables of the results: all of them in quantizers.md, a short one in the README."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgekit.metrics import Metric
from edgekit.parity import Parity
from tests.benchmarks.document import rewrite, table
from tests.benchmarks.quantizers.jobs import FEW, FORMATS, MANY, SOME, Job
from tests.benchmarks.quantizers.networks import NETWORKS

README = Path(__file__).resolve().parents[3] / "README.md"
FULL = README.parent / "tests" / "benchmarks" / "quantizers.md"
Result = dict[str, Any]
Results = Sequence[tuple[Job, Result]]

PEERS = (
    "format",
    "tool",
    "agreement %",
    "top-1 % (95 % interval)",
    "relative L2",
    "s",
    "peak MB (imports)",
    "speed over fp32",
)
ABLATION = ("network", "format", "variant", "agreement %", "top-1 %", "relative L2", "s")
CALIBRATION = ("format", "what", "s", "peak MB", "imports MB", "peak over plain inference")

PREAMBLE = """# int8 against the quantizers that edgekit stands on

Written by `make quantizers`. Every tool starts from the same float artifacts and the same encoded samples (100
photos to calibrate, 400 others to measure; the smaller networks' data is in `quantizers/networks.py`) and runs in a
child process of its own, one at a time.

- *agreement*: samples decided as the original model decides; *relative L2*: distance of the scores to the original's.
- *s*: wall time of quantization, imports not counted. *peak MB*: largest resident memory of the process; in brackets
  what was resident before the work began, after the imports and, where the tool takes an open model, its opening.
- *speed over fp32*: median latency of the float artifact over that of the quantized one, one thread, both in one
  process in turns. **slower** marks artifacts that are slower than the float one. edgekit's files run in edgekit's
  engines, the others' `.onnx` files in ONNX Runtime with its default options.
- Published files need not hold exactly the original's weights: hold their top-1 against the others', not their
  agreement.
- TFLiteConverter takes Keras models and SavedModels only. NNCF is told when a network is a transformer; ONNX Runtime
  then quantizes matrix products only, since what it makes of all operators cannot be loaded.
"""


def write(results: Results) -> None:
    """Write both files from the results at hand."""
    parts = [PREAMBLE, _machine(), *(_network(name, results) for name in _networks(results))]
    sections = [
        ("Calibration in bounded memory", _calibration(results)),
        ("What each part contributes", table(ABLATION, _rows(results, "ablation", ablation_row))),
    ]
    parts += [f"## {title}\n\n{text}\n" for title, text in sections]
    FULL.write_text("\n".join(parts), encoding="utf-8")
    rewrite(README, "quantizers", short(results))


def _machine() -> str:
    packages = ("ai-edge-litert", "ai-edge-quantizer", "onnxruntime", "tensorflow")
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    nncf = (Path(__file__).parent / "requirements.txt").read_text(encoding="utf-8").partition("nncf==")[2].split()[0]
    return f"{_processor()}, {os.cpu_count()} cores; {versions}, nncf {nncf}.\n"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _networks(results: Results) -> list[str]:
    return list(dict.fromkeys(job.network for job, _ in results if job.section == "peers"))


def _network(name: str, results: Results) -> str:
    mine = [(job, result) for job, result in results if job.network == name]
    parities = [parity for _, result in mine if (parity := parity_of(result)) is not None]
    share = next((parity.reference_metric for parity in parities if parity.reference_metric), None)
    original = "" if share is None else f"The original: {interval(share)} on {share.total} samples.\n\n"
    parts = []
    for recipe in dict.fromkeys(job.recipe for job, _ in mine if job.section == "peers"):
        rows = [peers_row(job, result) for job, result in mine if (job.section, job.recipe) == ("peers", recipe)]
        parts.append(f"{recipe}:\n\n{table(PEERS, rows)}\n")
    return f"## {name}\n\n{original}" + "\n".join(parts)


def _rows(results: Results, section: str, row: Callable[[Job, Result], list[str]]) -> list[list[str]]:
    return [row(job, result) for job, result in results if job.section == section]


def peers_row(job: Job, result: Result) -> list[str]:
    """A tool on a network."""
    if "failed" in result:
        return [job.form, job.title, f"failed: {result['failed']}".replace("|", "/"), *[""] * (len(PEERS) - 3)]
    return [
        job.form,
        f"**{job.title}**" if job.ours else job.title,
        *_quality(result, interval),
        f"{result['seconds']:.1f}" if "seconds" in result else "",
        f"{result['peak_mb']:.0f} ({result['imports_mb']:.0f})" if "peak_mb" in result else "",
        speed(result),
    ]


def ablation_row(job: Job, result: Result) -> list[str]:
    """A variant on a network."""
    if "failed" in result:
        return [job.network, job.form, job.title, f"failed: {result['failed']}".replace("|", "/"), "", "", ""]
    return [job.network, job.form, job.title, *_quality(result, percent), f"{result['seconds']:.1f}"]


def _quality(result: Result, accuracy: Callable[[Metric], str]) -> list[str]:
    parity = parity_of(result)
    assert parity is not None
    assert parity.agreement is not None
    return [
        percent(parity.agreement),
        accuracy(parity.metric) if parity.metric else "",
        f"{parity.worst.relative_l2:.3f}",
    ]


def parity_of(result: Result) -> Parity | None:
    """The parity in a result."""
    return Parity.from_dict(result["parity"]) if "parity" in result else None


def percent(share: Metric) -> str:
    """In percent."""
    return f"{100 * share.value:.1f}"


def interval(share: Metric) -> str:
    """In percent, with the Wilson interval."""
    low, high = share.interval()
    return f"{100 * share.value:.1f} ({100 * low:.1f}-{100 * high:.1f})"


def speed(result: Result) -> str:
    """Latency of the float artifact over that of the quantized one, marked where the latter is slower."""
    times = result["latency_ms"]
    ratio = times["fp32"] / times["int8"]
    return f"{ratio:.2f}" if ratio >= 1 else f"{ratio:.2f} **slower**"


def _calibration(results: Results) -> str:
    found = {(job.form, job.title): result for job, result in results if job.section == "calibration"}
    rows = []
    for (form, title), result in found.items():
        if "failed" in result:
            rows.append([form, title, f"failed: {result['failed']}", "", "", ""])
            continue
        plain = found.get((form, f"plain inference, {_count(title)} samples"), {})
        over = f"{result['peak_mb'] / plain['peak_mb']:.2f}" if "peak_mb" in plain else ""
        figures = (result["seconds"], result["peak_mb"], result["imports_mb"])
        rows.append([form, title, f"{figures[0]:.1f}", *(f"{figure:.0f}" for figure in figures[1:]), over])
    return table(CALIBRATION, rows) + "\n\n" + table(("format", "promise", "measured", "limit"), promises(found))


def _count(title: str) -> str:
    return title.split()[-2]


def promises(found: dict[tuple[str, str], Result]) -> list[list[str]]:
    """What the calibration is held to, as far as measured."""
    rows = []
    for form in FORMATS:
        for title, first, second, key, limit in _promised(form):
            over = found.get(second, {}) if second else {key: 1.0}
            if key in found.get(first, {}) and key in over:
                rows.append([form, title, f"{found[first][key] / over[key]:.2f}", limit])
    return rows


Ran = tuple[str, str]
"""Format and title of what was run."""


def _promised(form: str) -> Iterator[tuple[str, Ran, Ran | None, str, str]]:
    """Promise, what it is about, what it is divided by, the figure, and the limit."""
    for what in ("calibration", "whole recipe"):
        many = form, f"{what}, {MANY} samples"
        yield (
            f"{what}: peak memory with {MANY} samples over {FEW}",
            many,
            (form, f"{what}, {FEW} samples"),
            "peak_mb",
            "1.10",
        )
        plain = form, f"plain inference, {MANY} samples"
        yield f"{what}: peak memory over plain inference, {MANY} samples", many, plain, "peak_mb", "1.50"
    theirs = "onnx", f"ONNX Runtime Percentile, calibration, {SOME} samples"
    ours = form, f"calibration, {SOME} samples"
    yield f"calibration: seconds over ONNX Runtime Percentile's, {SOME} samples", ours, theirs, "seconds", "0.50"
    yield f"whole recipe: seconds, {SOME} samples", (form, f"whole recipe, {SOME} samples"), None, "seconds", "180"
    yield f"low effort: seconds, {SOME} samples", (form, f"low effort, {SOME} samples"), None, "seconds", "30"


def short(results: Results) -> str:
    """One row a tool, one column a network of photos: agreement, and relative L2 in brackets."""
    networks = [network.name for network in NETWORKS if network.photos]
    cells = {
        (job.form, job.title, job.network): result
        for job, result in results
        if (job.section, job.recipe) == ("peers", "int8") and job.network in networks
    }
    tools = dict.fromkeys((form, title) for form, title, _ in sorted(cells, key=lambda key: FORMATS.index(key[0])))
    rows = [[form, title, *(_cell(cells.get((form, title, name))) for name in networks)] for form, title in tools]
    return table(("format", "int8 by", *networks), rows)


def _cell(result: Result | None) -> str:
    parity = None if result is None else parity_of(result)
    if parity is None or parity.agreement is None:
        return ""
    return f"{percent(parity.agreement)} ({parity.worst.relative_l2:.3f})"


def line(job: Job, result: Result) -> str:
    """One line for the terminal."""
    if "failed" in result:
        return f"{job.name}: failed: {result['failed']}"
    words: Iterable[str] = (f"{result['seconds']:.1f} s, {result['peak_mb']:.0f} MB" if "seconds" in result else "",)
    if "parity" in result:
        words = (*words, "agreement {}, top-1 {}, relative L2 {}".format(*_quality(result, percent)), speed(result))
    return f"{job.name}: {', '.join(filter(None, words))}"
