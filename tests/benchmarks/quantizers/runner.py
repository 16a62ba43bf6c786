"""Runs jobs in child processes, one at a time, and files every result at once: a run can be stopped and continued."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.benchmarks.quality import real
from tests.benchmarks.quantizers.jobs import CALIBRATED, MANY, Job
from tests.benchmarks.quantizers.networks import NETWORKS, Network
from tests.benchmarks.quantizers.workspace import ABOUT, Workspace

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).parent
CACHE = ROOT / ".cache"
PEERS = CACHE / "peers"
TIME_LIMIT = 1800.0
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TRANSFORMERS_VERBOSITY": "error", "TOKENIZERS_PARALLELISM": "false"}
_PACKAGES = ("ai-edge-litert", "ai-edge-quantizer", "onnxruntime", "tensorflow")
_WRITERS = (
    *(f"converters/edgekit_converters/{name}" for name in ("sources", "targets", "data.py", "prepare.py", "specs.py")),
    *(f"edgekit/{name}" for name in ("images.py", "preprocess.py", "presets.py", "resample.py", "spec.py", "tasks")),
    "samples/demo/efficientnet_lite0.py",
    "tests/fixtures",
    *(f"tests/benchmarks/{name}" for name in ("quality.py", "quantizers/networks.py", "quantizers/prepare.py")),
)
"""Code that decides what float artifacts and samples are."""
Result = dict[str, Any]


class ChildFailed(RuntimeError):
    """A child process ended with an error; the text is its last words."""


class Runner:
    """Runs jobs and keeps their results.

    Args:
        limit: Calibration and evaluation samples at most, for trying things out; 0 takes all.
        fresh: Do jobs again that have a result.
    """

    def __init__(self, *, limit: int = 0, fresh: bool = False) -> None:
        self.limit, self.fresh = limit, fresh
        self.folder = CACHE / ("quantizers" if not limit else f"quantizers-{limit}")
        self._prepared: dict[str, Workspace] = {}
        engines = ROOT / "runtimes/edgekit_runtimes/engines"
        self._code = code_digest(ROOT / "converters/edgekit_converters/quantize", engines, HERE / "ablation.py")

    def result(self, job: Job) -> Result | None:
        """The filed result, ``None`` where there is none or it belongs to other data, versions or code."""
        path = self._file(job)
        if not path.is_file():
            return None
        found: Result = json.loads(path.read_text(encoding="utf-8"))
        return found if found["key"] == self._key(job) else None

    def run(self, job: Job) -> Result:
        """Do a job unless it is done. A tool that fails has that as its result."""
        done = None if self.fresh else self.result(job)
        if done is not None:
            return done
        found: Result = {"key": self._key(job), "name": job.name}
        try:
            found |= self._measured(job)
        except ChildFailed as failure:
            found["failed"] = str(failure)
        path = self._file(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps(found, indent=1), encoding="utf-8")
        temporary.replace(path)
        return found

    def workspace(self, network: Network) -> Workspace:
        """The network's float artifacts and samples, written anew where the code that writes them has changed."""
        if network.name not in self._prepared:
            folder = self.folder / network.slug
            code = code_digest(
                *(ROOT / part for part in ("edgekit", "converters/edgekit_converters", "tests/fixtures"))
            )
            if not _is_written(folder, code):
                self._prepare(network, folder, code)
            self._prepared[network.name] = Workspace(folder)
        return self._prepared[network.name]

    def _prepare(self, network: Network, folder: Path, code: str) -> None:
        print(f"preparing {network.name}", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        varied = MANY if network is CALIBRATED else 0
        _child("prepare", [network.name, str(part), "--limit", str(self.limit), "--varied", str(varied)])
        (part / "code").write_text(code, encoding="utf-8")
        part.rename(folder)

    def _measured(self, job: Job) -> Result:
        network = next(network for network in NETWORKS if network.name == job.network)
        folder = self.workspace(network).folder
        with tempfile.TemporaryDirectory(prefix="quantizers-") as scratch:
            out, report = Path(scratch) / f"int8.{job.form}", Path(scratch) / "report.json"
            found: Result = {}
            if job.published:
                shutil.copyfile(real() / job.published, out)
            else:
                words = [str(folder), job.module, json.dumps(job.options), str(out), str(report)]
                _child("child", words, python=interpreter(job))
                found |= json.loads(report.read_text())
            if job.artifact:
                _child("evaluate", [str(folder), str(out), str(report), *([] if job.ours else ["--plain"])])
                found |= json.loads(report.read_text())
        return found

    def _file(self, job: Job) -> Path:
        name = "".join(letter if letter.isalnum() else "-" for letter in job.name.lower())
        return self.folder / "results" / f"{name}.json"

    def _key(self, job: Job) -> str:
        """What a result depends on: the data, the tool and its version; of edgekit the code."""
        network = next(network for network in NETWORKS if network.name == job.network)
        tool = [job.module, json.dumps(job.options, sort_keys=True), job.published]
        tool.append(code_digest(HERE / "evaluate.py", *([HERE / "tools" / f"{job.module}.py"] if job.module else [])))
        if job.ours:
            tool.append(self._code)
        if job.environment == "peers":
            tool.append((HERE / "requirements.txt").read_text())
        versions = [f"{package} {version(package)}" for package in _PACKAGES]
        text = "\n".join([self.workspace(network).digest, *tool, *versions])
        return hashlib.sha256(text.encode()).hexdigest()


def code_digest(*places: Path) -> str:
    """SHA-256 over the Python files given and all below the folders given."""
    digest = hashlib.sha256()
    for place in places:
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _is_written(folder: Path, code: str) -> bool:
    made_by = folder / "code"
    return (folder / ABOUT).is_file() and made_by.is_file() and made_by.read_text(encoding="utf-8") == code


def interpreter(job: Job) -> Path:
    """The Python that has the job's tool."""
    if job.environment == "project":
        return Path(sys.executable)
    wanted = (HERE / "requirements.txt").read_text(encoding="utf-8")
    stamp = PEERS / "installed.txt"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        print("making the peers' environment", flush=True)
        shutil.rmtree(PEERS, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        words = ["--quiet", "--disable-pip-version-check", "--constraint", str(ROOT / "constraints.txt")]
        words += ["--requirement", str(HERE / "requirements.txt")]
        subprocess.run([str(PEERS / "bin/python"), "-m", "pip", "install", *words], check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return PEERS / "bin/python"


def _child(module: str, arguments: list[str], *, python: Path | None = None) -> None:
    """Run a module of this package; Ctrl-C ends it as well. Raises ChildFailed with its last words."""
    command = [str(python or sys.executable), "-m", f"tests.benchmarks.quantizers.{module}", *arguments]
    environment = {**os.environ, **QUIET, "PYTHONPATH": str(ROOT)}
    # Some tools leave files in the current folder.
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory(prefix="quantizers-") as current:
        try:
            done = subprocess.run(
                command, cwd=current, stdout=log, stderr=log, timeout=TIME_LIMIT, check=False, env=environment
            )
        except subprocess.TimeoutExpired as error:
            raise ChildFailed(f"not finished after {TIME_LIMIT:.0f} s") from error
        log.seek(0)
        lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    if done.returncode:
        cause = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        # The line of a traceback that names the exception; a message may go on below it.
        named = [line for line in lines if re.match(r"[\w.]+: ", line) and not line.startswith("remedy")]
        raise ChildFailed(f"{cause}: {(named or lines or ['no output'])[-1][:300]}")
