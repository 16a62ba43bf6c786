"""Numbers and specs as people read them."""

from __future__ import annotations

import pytest

from edgekit.bundle import Manifest
from edgekit.metrics import Estimate, Proportion
from edgekit.presets import preset
from edgekit.spec import Spec, TensorSpec, TextEncoding
from edgekit_converters.report import words


def plain(text: str | None) -> str:
    return (text or "").replace("\u00a0", " ").replace("\u00d7", "x").replace("\u2212", "-")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (words.milliseconds(0.0123), "12.3 µs"),
        (words.milliseconds(4.0), "4.00 ms"),
        (words.milliseconds(999.7), "1000 ms"),
        (words.milliseconds(12_345), "12.3 s"),
        (words.size(99_000), "99.0 kB"),
        (words.size(5_369_702), "5.37 MB"),
        (words.error(0.0579), "0.058"),
        (words.error(1.8e-6), "1.8 x 10⁻⁶"),
        (words.error(0.0), "0"),
        (words.count(300_000_000), "300 M"),
        (words.limit("latency_ms", 20), "latency 20 ms"),
        (words.limit("drop_points", 1.5), "drop 1.5 points"),
        (words.limit("drop_points", 1), "drop 1 point"),
        (words.limit("size_mb", 5), "size 5 MB"),
        (words.peaks({"gmacs_per_s": {"fp32": 40.0, "int8": 99.0}}), "40 GMAC/s in fp32 and 99 GMAC/s in int8"),
        (words.peaks({"gmacs_per_s": {"fp32": 40.0}}), "40 GMAC/s in fp32"),
        (words.lost(Proportion(90, 100), Proportion(88, 100)), "-2.0 points"),
        (words.lost(Proportion(90, 100), Proportion(90, 100)), "no change"),
        (
            words.lost(Estimate("WER", 0.2, 0.1, 0.3, 9, False), Estimate("WER", 0.19, 0.1, 0.3, 9, False)),
            "+1.0 points",
        ),
        (words.measured(Estimate("perplexity", 12.345, 12, 13, 9, False, False)), "12.35"),
    ],
)
def test_numbers(shown: str, expected: str) -> None:
    assert plain(shown) == expected


@pytest.mark.parametrize(
    ("name", "layout", "expected"),
    [
        (
            "imagenet",
            "NCHW",
            "resized to 256 pixels on the shorter side (bilinear, antialiased), the middle 224 x 200 cut out, "
            "RGB order, (value / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]",
        ),
        ("minus-one-one", "NHWC", "stretched to 3 x 224 pixels (bilinear, antialiased), RGB order, value / 127.5 - 1"),
        ("raw", "NCHW", "stretched to 224 x 200 pixels (bilinear, antialiased), RGB order, value"),
        ("fastestdet", "NCHW", "stretched to 224 x 200 pixels (bilinear, antialiased), BGR order, value / 255"),
        (
            "yolov8",
            "NCHW",
            "fitted into 224 x 200 pixels (bilinear, no antialiasing) and padded with 114, RGB order, value / 255",
        ),
    ],
)
def test_preprocessing_of_photos(name: str, layout: str, expected: str) -> None:
    spec = preset(name).replace(inputs=(TensorSpec("photo", (1, 3, 224, 200), layout=layout),))  # type: ignore[arg-type]
    assert plain(words.preparation(spec)) == expected


def test_preprocessing_of_text_and_of_nothing() -> None:
    assert words.preparation(Spec("text-classification", text=TextEncoding("tokenizer.json", 64))) == (
        "tokenized by tokenizer.json, cut or padded to 64 tokens"
    )
    assert words.preparation(Spec()) is None


def test_facts(manifest: Manifest) -> None:
    facts = {term: plain(text) for term, text in words.facts(manifest)}
    assert facts["Original"] == "Keras, net.keras, 1,234,567 parameters, 5.00 MB"
    assert facts["Input"] == "image, N x 3 x 224 x 224, float32, NCHW"
    assert facts["Classes"] == "3: cat, dog, bird"
    assert facts["SHA-256 of the original"] == "ab" * 32
