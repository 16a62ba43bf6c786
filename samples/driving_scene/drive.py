"""What stands on the road: a detector and a segmenter on one video, each frame read once for both.

    python samples/driving_scene/drive.py DETECTOR SEGMENTER VIDEO [-o ANNOTATED]

The detector finds people and vehicles, the segmenter says where the road is; an object is on the road when the lowest
part of its box is. ANNOTATED is a video, a folder, ``page`` or ``window``.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from contextlib import ExitStack

import numpy as np

from edgekit.tasks.object_detection import Detection, Detections
from edgekit.tasks.semantic_segmentation import SegmentationMap
from edgekit_runtimes.combined import Combined, load_together
from edgekit_runtimes.inputs.items import items_for
from edgekit_runtimes.outputs.open import open_sink
from edgekit_runtimes.outputs.sink import Answer
from edgekit_runtimes.pipeline import answered

LOWEST = 0.15
"""Part of a box, from below, that stands on something."""
ON = 0.3
"""Share of it that has to be road."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector")
    parser.add_argument("segmenter")
    parser.add_argument("video")
    parser.add_argument("-o", "--output", help="where to show or write the frames with both results drawn in")
    options = parser.parse_args()
    seen: Counter[str] = Counter()
    shares: list[float] = []
    start = time.perf_counter()
    with ExitStack() as opened:
        # Masks first: boxes are drawn over them.
        both = opened.enter_context(load_together([options.segmenter, options.detector]))
        sink = opened.enter_context(open_sink(options.output)) if options.output else None
        for outcome in answered(both, items_for(both.bundle.spec, [options.video]), pictures=sink is not None):
            if not isinstance(outcome.result, Combined):
                print(outcome.error)
                continue
            road, objects = scene(outcome.result)
            standing = [one for one in objects if on_road(one, road)]
            seen.update(one.name for one in standing)
            shares.append(float(road.mean()))
            names = ", ".join(f"{one.name} {100 * one.score:.0f} %" for one in standing) or "nothing"
            print(f"{outcome.item.name}: road {100 * shares[-1]:.0f} % of the picture, on it {names}")
            if sink is not None:
                sink.answer(Answer(outcome.item.name, outcome.result, outcome.picture, inside=outcome.item.inside))
    rate = len(shares) / (time.perf_counter() - start)
    counted = ", ".join(f"{count} x {name}" for name, count in seen.most_common()) or "nothing"
    print(f"{len(shares)} frames, {rate:.1f} a second; road {100 * np.mean(shares):.0f} %; seen: {counted}")


def scene(result: Combined) -> tuple[np.ndarray, list[Detection]]:
    """Where the road is, ``(height, width)`` bool, and what was detected."""
    maps = [part for part in result.results.values() if isinstance(part, SegmentationMap)]
    found = [part for part in result.results.values() if isinstance(part, Detections)]
    if not maps or not found:
        raise SystemExit("DETECTOR has to detect objects, SEGMENTER to give the class of each pixel")
    names = maps[0].names or ()
    return maps[0].classes == names.index("road"), list(found[0].objects)


def on_road(one: Detection, road: np.ndarray) -> bool:
    """Whether the lowest part of an object's box is road."""
    left, top, right, bottom = (round(side) for side in one.box)
    feet = road[max(0, bottom - max(1, round(LOWEST * (bottom - top)))) : bottom, max(0, left) : right]
    return bool(feet.size) and float(feet.mean()) >= ON


if __name__ == "__main__":
    main()
