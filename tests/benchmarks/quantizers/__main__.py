"""Measure and write the tables.

    EDGEKIT_DATA=… python -m tests.benchmarks.quantizers [--only PATTERN] [--fresh] [--limit 8] [--list]

Results are kept in .cache, so that a run which was stopped continues; a result is measured again when the data, a
tool's version or, for edgekit's rows, the quantizer's code has changed. Tables are written from all results that are
valid then, whatever was asked for with --only.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.benchmarks.quantizers.jobs import Job


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only",
        default="*",
        help="shell patterns separated by commas, e.g. 'peers*mobilenet*,ablation*'; a leading ! leaves out",
    )
    parser.add_argument("--fresh", action="store_true", help="measure again what has a result")
    parser.add_argument("--limit", type=int, default=0, help="samples at most, to try things out; writes no tables")
    parser.add_argument("--list", action="store_true", help="list the jobs that match and do nothing")
    options = parser.parse_args()
    if not os.environ.get("EDGEKIT_DATA"):
        sys.exit("set EDGEKIT_DATA to the folder of real models and data")

    from tests.benchmarks.quantizers import report
    from tests.benchmarks.quantizers.jobs import all_jobs
    from tests.benchmarks.quantizers.runner import Runner

    jobs = all_jobs()
    chosen = [job for job in jobs if matches(job, options.only)]
    if options.list:
        print("\n".join(job.name for job in chosen))
        return
    runner = Runner(limit=options.limit, fresh=options.fresh)
    try:
        for job in chosen:
            print(report.line(job, runner.run(job)), flush=True)
    except KeyboardInterrupt:
        sys.exit("stopped; what is measured is kept, the same command continues")
    if not options.limit:
        report.write([(job, result) for job in jobs if (result := runner.result(job)) is not None])
        print(f"wrote {report.FULL.name} and the table of {report.README.name}")


def matches(job: Job, patterns: str) -> bool:
    """Whether a job is asked for."""
    wanted = [word for word in patterns.split(",") if not word.startswith("!")] or ["*"]
    unwanted = [word[1:] for word in patterns.split(",") if word.startswith("!")]

    def any_of(words: list[str]) -> bool:
        return any(fnmatch.fnmatch(job.name.lower(), f"*{word.lower()}*") for word in words)

    return any_of(wanted) and not any_of(unwanted)


if __name__ == "__main__":
    main()
