"""The words that name sources of frames, taken apart; and what may be shown of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from edgekit.errors import UsageError

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://\S+", re.IGNORECASE)
_SECRET = re.compile(r"(?i)\b([\w.-]*(?:pass|pwd|token|secret|key|auth|signature)[\w.-]*)=[^&#\s]*")
_FORMATS = ("mjpg", "yuyv")

STREAMS = ("http", "https", "rtsp", "rtsps")


@dataclass(frozen=True)
class Options:
    """What may follow the name of a source.

    Attributes:
        size: Width and height in pixels.
        fps: Frames a second.
        format: How a USB camera sends its pictures: ``mjpg`` or ``yuyv``.
        raw: Width and height of raw RGB pictures on standard input.
        every: Each picture of standard input, in order, instead of the newest.
        transport: ``tcp`` or ``udp``.
        frozen: Whether the picture may stand still.
        pcm: Samples a second of raw sound on standard input: 16-bit little-endian, one channel.
    """

    size: tuple[int, int] | None = None
    fps: float | None = None
    format: str | None = None
    raw: tuple[int, int] | None = None
    every: bool = False
    transport: str = "tcp"
    frozen: bool = False
    pcm: int | None = None


@dataclass(frozen=True)
class Address:
    """A word taken apart.

    Attributes:
        kind: ``camera``, ``csi``, ``rtsp``, ``http``, ``mic`` or ``stdin``.
        name: What may be shown: the word without any password.
        device: Camera number, path or ALSA name of a device, or URL, with its password.
        options: What was asked for.
    """

    kind: str
    name: str
    device: str = field(repr=False)
    options: Options = Options()


def parse(word: str) -> Address | None:
    """Take a word apart; ``None`` where it names no camera, stream or standard input.

    Raises:
        UsageError: It nearly does: an unknown option, a device that cannot be, a scheme that is not read.
    """
    name = redacted(word)
    if word.partition("?")[0] == "-":
        return Address("stdin", "stdin", "-", _options(name, word.partition("?")[2], ("raw", "pcm", "every")))
    kind = word.partition(":")[0].lower()
    if kind in ("camera", "csi") and ":" in word:
        return _camera(word, kind)
    if re.fullmatch(r"mic(:.*)?", word, re.DOTALL):
        return _microphone(word)
    match = _SCHEME.fullmatch(word)
    if match is None:
        return None
    scheme = match[1].lower()
    if scheme not in STREAMS:
        raise UsageError(f"{name}: nothing here reads {scheme}://", expected=", ".join(f"{s}://" for s in STREAMS))
    return _stream(word, name, "http" if scheme.startswith("http") else "rtsp")


def redacted(text: str) -> str:
    """Replace passwords in URLs: after ``user:``, a user alone (it may be a token), and parameters that look secret."""
    return _SECRET.sub(r"\1=***", re.sub(r"(?i)([a-z][a-z0-9+.-]*://)(\S+)", _without_user, text))


def _without_user(match: re.Match[str]) -> str:
    start, rest = match[1], match[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" not in authority and not re.search(r":(?!\d+$)[^\]]*$", authority):
        return match[0]  # no user, unless what looks like a port is the start of a password with a slash in it
    user, at, host = (authority if "@" in authority else rest).rpartition("@")
    if not at:
        return match[0]
    if "@" in authority:
        host += rest[len(authority) :]
    name, colon, _ = user.partition(":")
    return f"{start}{name}:***@{host}" if colon else f"{start}***@{host}"


def _camera(word: str, kind: str) -> Address:
    device, _, query = word.partition(":")[2].partition("?")
    fits = device.isdigit() or (kind == "camera" and device.startswith("/dev/"))
    if not fits:
        raise UsageError(
            f"{word}: {device!r} is no camera", expected="csi:0" if kind == "csi" else "camera:0 or camera:/dev/video0"
        )
    known = ("size", "fps", "frozen") if kind == "csi" else ("size", "fps", "format", "frozen")
    return Address(kind, word, device, _options(word, query, known))


def _microphone(word: str) -> Address:
    device = word.partition(":")[2]
    # The name becomes an argument of a recorder: it cannot be an option.
    if word != "mic" and not re.fullmatch(r"[A-Za-z]\w*([:,=.-]\w+)*", device):
        raise UsageError(f"{word}: {device!r} is no microphone", expected="mic, or mic:DEVICE as arecord -L lists them")
    return Address("mic", word, device or "default")


def _stream(word: str, name: str, kind: str) -> Address:
    url, _, fragment = word.partition("#")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        raise UsageError(
            f"{name} is no URL", expected=f"{kind}://USER:PASSWORD@HOST:PORT/PATH, special characters as %40"
        )
    known = ("frozen",) if kind == "http" else ("transport", "frozen")
    return Address(kind, redacted(url), url, _options(name, fragment, known))


def _options(name: str, query: str, known: tuple[str, ...]) -> Options:
    """Read ``a=b&c=d``."""
    values: dict[str, object] = {}
    for pair in filter(None, query.split("&")):
        key, _, value = pair.partition("=")
        if key not in known:
            raise UsageError(f"{name}: unknown option {redacted(pair)!r}", expected=", ".join(known))
        if key in values:
            raise UsageError(f"{name}: {key} is given twice", expected="each option once")
        values[key] = _value(name, key, value)
    return Options(**values)  # type: ignore[arg-type]  # _value gives each key the type of its field


def _value(name: str, key: str, value: str) -> object:
    expected = _EXPECTED[key]
    if key in ("size", "raw"):
        if match := re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", value):
            return int(match[1]), int(match[2])
    elif key == "pcm":
        if re.fullmatch(r"[1-9]\d{3,5}", value):
            return int(value)
    elif key == "fps":
        if re.fullmatch(r"\d{1,3}(\.\d+)?", value) and float(value) > 0:
            return float(value)
    elif key in ("every", "frozen"):
        if value == expected:
            return True
    elif value in expected.split(" or "):
        return value
    raise UsageError(f"{name}: {key}={value}", expected=f"{key}={expected}")


_EXPECTED = {
    "size": "1280x720",
    "raw": "640x480",
    "pcm": "16000",
    "fps": "30",
    "format": " or ".join(_FORMATS),
    "every": "yes",
    "frozen": "ok",
    "transport": "tcp or udp",
}
