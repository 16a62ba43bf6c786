"""Run the conversion zoo.

    python -m tests.benchmarks.zoo.run --out results.jsonl [--only PATTERN] [--family keras|torch] [--recipes …]
    python -m tests.benchmarks.zoo.run --out results.jsonl --summary zoo.md

Every architecture runs in a child process with a time and a memory limit; a format that ends its child is noted as
a crash and the rest is taken up by a new child. Pieces already in the results are not done again.

With --ray auto|local|HOST:PORT the architectures are tasks of a Ray cluster, two CPUs each; every node needs this
checkout at the same path. What an architecture gave is written when it is done.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from edgekit.cluster import Tasks, connected, on_each_node
from edgekit.errors import EdgeKitError, EnvironmentFault
from edgekit_converters.convert import tool_versions
from tests.benchmarks.zoo import summary
from tests.benchmarks.zoo.child import all_entries
from tests.benchmarks.zoo.work import FORMATS, THREADS, Asked, Result, all_rows


def load(path: Path) -> list[Result]:
    """Results so far; the last one of a piece counts."""
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return list({(row["model"], row["format"], row["recipe"]): row for row in rows}.values())


def on_ray(address: str, asked: Sequence[Asked]) -> Generator[Result, None, None]:
    """Results in the order in which the architectures are finished; what dies with its node is done again later."""
    with connected(address), Tasks[str](THREADS) as tasks:
        for node, versions in on_each_node(tool_versions, cpus=THREADS).items():
            if versions != tool_versions():
                raise EnvironmentFault(
                    f"node {node} has other tools: {versions}",
                    expected=f"{tool_versions()}",
                    remedy="install the same versions on every node: a table is of one set",
                )
        for one in asked:
            tasks.start(one.entry, all_rows, one)
        while tasks:
            done = tasks.next()
            if done.lost is not None:
                print(f"{done.key}: {done.lost}", file=sys.stderr)
            yield from done.value or []


def wanted(options: argparse.Namespace) -> Iterator[Asked]:
    """What was asked for and is not there."""
    recipes, patterns, rows = tuple(options.recipes.split(",")), options.only.split(","), load(options.out)
    for entry in all_entries():
        chosen = options.family in (None, entry.family)
        if not chosen or not any(fnmatch.fnmatch(entry.name, pattern) for pattern in patterns):
            continue
        done = frozenset(
            (row["format"], row["recipe"])
            for row in rows
            if row["model"] == entry.name and (row["status"] == "pass" or not options.again)
        )
        if any((name, recipe) not in done for name in FORMATS for recipe in recipes):
            yield Asked(entry.name, recipes, done, (options.timeout, int(options.memory * 2**30)))


def main() -> None:
    """Run what is asked for and print one line a piece."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="results, one JSON object a line")
    parser.add_argument("--only", default="*", help="shell patterns of names, separated by commas")
    parser.add_argument("--family", choices=["keras", "torch"])
    parser.add_argument("--recipes", default="fp32,int8,dynamic-int8")
    parser.add_argument("--again", action="store_true", help="do pieces again that did not pass")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for one child")
    parser.add_argument("--memory", type=float, default=8, help="GiB for one child")
    parser.add_argument("--ray", metavar="ADDRESS", help="on a Ray cluster: auto, local or HOST:PORT")
    parser.add_argument("--summary", type=Path, help="write the results as a Markdown table and do nothing else")
    options = parser.parse_args()
    if options.summary:
        options.summary.write_text(summary.markdown(load(options.out)))
        return
    asked = list(wanted(options))
    here = (row for one in asked for row in one.rows())
    try:
        with closing(on_ray(options.ray, asked) if options.ray and asked else here) as rows:
            for row in rows:
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(summary.line(row), flush=True)
    except EdgeKitError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
