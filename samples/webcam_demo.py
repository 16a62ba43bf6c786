"""A camera, the model's answers and the rate, live: ``python samples/webcam_demo.py BUNDLE [SOURCE] [WHERE]``.

SOURCE is ``camera:0`` (by default), ``csi:0``, a stream or a video; WHERE is ``page`` (by default), ``page:8080``,
``window`` or a file to record, such as ``seen.mp4``. ``edgekit demo webcam`` is the same with more options.
"""

from __future__ import annotations

import sys
import time

import edgekit
from edgekit_runtimes.inputs.open import open_frames
from edgekit_runtimes.outputs.open import open_sink
from edgekit_runtimes.outputs.sink import Answer
from edgekit_runtimes.run import Rate


def main() -> None:
    given = dict(zip(("bundle", "source", "where"), sys.argv[1:], strict=False))
    if "bundle" not in given:
        sys.exit(__doc__)
    source, where = given.get("source", "camera:0"), given.get("where", "page")
    rate = Rate()
    frames = open_frames(source)
    if frames is None:
        sys.exit(f"{source} is no camera, stream or video")
    with edgekit.load(given["bundle"]) as predictor, frames, open_sink(where) as sink:
        print(sink.notice or where)
        for frame in frames:
            result = predictor.predict(frame.picture)
            age = time.monotonic() - frame.captured
            sink.answer(Answer(f"frame {frame.number}", result, frame.picture, age=age, rate=rate.tick()))
            if sink.stopped:
                return


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("ended")
