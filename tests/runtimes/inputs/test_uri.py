"""The words that name sources, and what may be shown of them."""

from __future__ import annotations

import pytest

from edgekit.errors import UsageError
from edgekit_runtimes.inputs.open import open_frames
from edgekit_runtimes.inputs.uri import Options, parse, redacted


@pytest.mark.parametrize(
    "word", ["photo.jpg", "a folder/", "", "What a film!", "time: noon", "C:/photos", "--", "*.png"]
)
def test_words_that_name_no_frames(word: str) -> None:
    assert open_frames(word) is None


@pytest.mark.parametrize(
    ("word", "kind", "device", "options"),
    [
        ("camera:0", "camera", "0", Options()),
        (
            "camera:/dev/video2?size=1280x720&fps=30&format=mjpg&frozen=ok",
            "camera",
            "/dev/video2",
            Options(size=(1280, 720), fps=30, format="mjpg", frozen=True),
        ),
        ("csi:1?fps=29.97", "csi", "1", Options(fps=29.97)),
        ("rtsp://host/a?channel=1#transport=udp", "rtsp", "rtsp://host/a?channel=1", Options(transport="udp")),
        ("HTTPS://host:8080/a#frozen=ok", "http", "HTTPS://host:8080/a", Options(frozen=True)),
        ("-", "stdin", "-", Options()),
        ("-?raw=640x480&every=yes", "stdin", "-", Options(raw=(640, 480), every=True)),
    ],
)
def test_the_parts_of_a_word(word: str, kind: str, device: str, options: Options) -> None:
    address = parse(word)
    assert address is not None
    assert (address.kind, address.device, address.options) == (kind, device, options)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("camera:0?speed=3", "unknown option 'speed=3'; expected size, fps, format, frozen"),
        ("camera:front", "'front' is no camera"),
        ("csi:/dev/video0", "is no camera; expected csi:0"),
        ("camera:0?size=big", "size=big; expected size=1280x720"),
        ("camera:0?size=0x7", "size=0x7"),
        ("camera:0?fps=0", "fps=0; expected fps=30"),
        ("camera:0?fps=5&fps=6", "fps is given twice"),
        ("camera:0?format=jpeg", "format=jpeg; expected format=mjpg or yuyv"),
        ("rtsp://host/a#size=3x4", "unknown option 'size=3x4'; expected transport, frozen"),
        ("rtsp://host:port/a", "is no URL"),
        ("rtmp://host/live", "nothing here reads rtmp://"),
        ("-?size=640x480", "unknown option"),
    ],
)
def test_what_nearly_names_a_source_is_refused(word: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_frames(word)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://bob:s3cret@host:554/a", "rtsp://bob:***@host:554/a"),
        ("http://t0ken@host/a", "http://***@host/a"),
        ("http://host/a?user=bob&password=s3cret&x=1#frozen=ok", "http://host/a?user=bob&password=***&x=1#frozen=ok"),
        ("http://host/a?auth_token=s3cret", "http://host/a?auth_token=***"),
        ("rtsp://bob:s3/cret@host/a", "rtsp://bob:***@host/a"),
        ("rtsp://bob:s3@cret@host/a", "rtsp://bob:***@host/a"),
        ("rtsp://bob:s3#cret@host/a", "rtsp://bob:***@host/a"),
        ("http://host:80/a@b", "http://host:80/a@b"),
        ("http://[::1]:80/a", "http://[::1]:80/a"),
        ("cannot open rtsp://bob:s3cret@host/a: refused", "cannot open rtsp://bob:***@host/a: refused"),
        ("camera:0", "camera:0"),
    ],
)
def test_no_password_is_shown(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "word", ["rtsp://bob:s3cret@host:port/a", "rtsp://bob:s3cret@host/a#x=1", "rtmp://b:s3cret@h/a"]
)
def test_refusals_show_no_password(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_frames(word)
    assert "s3cret" not in str(caught.value)
    address = parse("rtsp://bob:s3cret@host/a")
    assert "s3cret" not in repr(address)
