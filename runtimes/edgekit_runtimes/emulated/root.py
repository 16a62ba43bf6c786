"""A Raspberry Pi's files: Raspberry Pi OS is Debian bookworm arm64, and these are its packages and the real wheels.

Made once and kept in ``~/.cache/edgekit/emulated``: about 600 MB and a minute or two. Nothing in it is started by the
host: QEMU runs one process at a time, which sees these files where it looks for its system's.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from edgekit.errors import EnvironmentFault
from edgekit_runtimes.emulated.boards import Board

SUITE, PYTHON = "bookworm", "3.11"
_DEBIAN = "python3,libgomp1,libstdc++6,zlib1g,libglib2.0-0"
_PACKAGES = ("ai-edge-litert", "onnxruntime", "numpy", "opencv-python-headless", "click", "rich", "tokenizers")
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64", "manylinux_2_17_aarch64")
_FOLDERS = ("bin", "etc", "lib", "sbin", "usr")
_OURS = ("edgekit", "edgekit_runtimes")
_KEPT_SECONDS = 86_400.0
QEMU = "qemu-aarch64-static"
_PROGRAMS = ((QEMU, "qemu-user-static"), ("debootstrap", "debootstrap"), ("dpkg-deb", "dpkg"))
Tell = Callable[[str], None]


def cache_folder() -> Path:
    """Where roots are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgekit" / "emulated"


def require_programs() -> None:
    """Raise EnvironmentFault, naming the packages, when something that this needs is not installed."""
    missing = [package for program, package in _PROGRAMS if _found(program) is None]
    if missing:
        raise EnvironmentFault(
            f"emulating a board needs {', '.join(missing)}",
            expected="Debian or Ubuntu on x86-64",
            remedy=f"sudo apt install {' '.join(missing)}",
        )


def _found(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class BoardRoot:
    """The files of a board, made where they are not there yet.

    Args:
        board: The board.
        tell: Told of each step that takes time.
        folder: Where roots are kept; `cache_folder` by default.

    Raises:
        EnvironmentFault: A program is missing, or the packages cannot be had.
    """

    def __init__(self, board: Board, tell: Tell, folder: Path | None = None) -> None:
        require_programs()
        self.board = board
        self._folder = folder or cache_folder()
        system, wheels = self._system(tell), self._wheels(tell)
        self.site = self._ours(wheels)
        self.path = self._overlay(system)

    @property
    def python(self) -> Path:
        """A script that runs the board's Python; what Python starts is started through it too."""
        return self.path / "usr" / "bin" / "python-emulated"

    def _system(self, tell: Tell) -> Path:
        """Debian's packages, unpacked: QEMU needs their files, not a system that boots."""
        place = self._folder / f"{SUITE}-arm64"
        if place.is_dir():
            return place
        tell(f"fetch Debian {SUITE} for arm64")
        with _made(place) as temporary:
            fakeroot = [] if os.geteuid() == 0 else [_fakeroot()]
            words = ["--foreign", "--arch=arm64", "--variant=minbase", f"--include={_DEBIAN}", SUITE, str(temporary)]
            _run([*fakeroot, _found("debootstrap") or "debootstrap", *words])
            archives = temporary / "var" / "cache" / "apt" / "archives"
            for package in sorted(archives.glob("*.deb")):
                _run(["dpkg-deb", "--extract", str(package), str(temporary)])
            shutil.rmtree(archives)
        return place

    def _wheels(self, tell: Tell) -> Path:
        """The wheels for aarch64 that pip would install on the board, in the versions that are installed here."""
        wanted = [_pinned(name) for name in _PACKAGES]
        place = self._folder / f"site-{hashlib.sha256(' '.join(wanted).encode()).hexdigest()[:12]}"
        if place.is_dir():
            return place
        tell(f"fetch wheels for aarch64: {', '.join(wanted)}")
        with _made(place) as temporary:
            wheels = temporary / "wheels"
            platforms = [word for platform in _PLATFORMS for word in ("--platform", platform)]
            words = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *platforms]
            _run([*words, "--python-version", PYTHON, "--only-binary=:all:", "--dest", str(wheels), *wanted])
            for wheel in sorted(wheels.glob("*.whl")):
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(temporary / "site")  # zipfile keeps members inside
            shutil.rmtree(wheels)
        return place

    def _ours(self, wheels: Path) -> list[Path]:
        """Folders of Python's path: edgekit as it runs here, then the wheels.

        Each state of edgekit's code has a folder of its own: a board that runs keeps its code while another starts.
        """
        sources = [(name, Path(str(__import__(name).__file__)).parent) for name in _OURS]
        about = Path(str(distribution("edgekit-ai").locate_file("")))
        sources += [(info.name, info) for info in about.glob("edgekit_ai-*.dist-info")]
        own = self._folder / f"edgekit-{_digest(sources)}"
        if not own.is_dir():
            self._forget_old()
            with _made(own) as temporary:
                for name, source in sources:
                    shutil.copytree(source, temporary / name, ignore=shutil.ignore_patterns("__pycache__"))
        os.utime(own)
        return [own, wheels / "site"]

    def _forget_old(self) -> None:
        """Remove code that no board ran for a day."""
        for folder in self._folder.glob("edgekit-*"):
            with suppress(FileNotFoundError):
                if time.time() - folder.stat().st_mtime > _KEPT_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)

    def _overlay(self, system: Path) -> Path:
        """The system with the board's own ``/proc/cpuinfo`` and a Python that QEMU runs."""
        place = self._folder / self.board.name
        python = place / "usr" / "bin" / "python-emulated"
        script = (
            "#!/bin/sh\n"
            f'exec {QEMU} -cpu {self.board.cpu} -L "{place}" -0 "{python}" "{place}/usr/bin/python{PYTHON}" "$@"\n'
        )
        own = {python: script, place / "proc" / "cpuinfo": self.board.cpuinfo}
        if all(path.is_file() and path.read_text() == text for path, text in own.items()):
            return place
        with _made(place) as temporary:
            # Folders of the user, such as /root and /tmp, are the host's. Hard links: what resolves a path must not be
            # led out of here by symbolic ones.
            for name in _FOLDERS:
                shutil.copytree(system / name, temporary / name, symlinks=True, copy_function=os.link)
            (temporary / "proc").mkdir()
            for path, text in own.items():
                (temporary / path.relative_to(place)).write_text(text)
            (temporary / python.relative_to(place)).chmod(0o755)
        return place

    def environment(self) -> dict[str, str]:
        """Environment of the board's processes."""
        kept = {key: value for key, value in os.environ.items() if key in ("HOME", "PATH", "COLUMNS", "TMPDIR", "TERM")}
        return {
            **kept,
            "PYTHONPATH": os.pathsep.join(map(str, self.site)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONNOUSERSITE": "1",
            "PYTHONSAFEPATH": "1",  # a numpy.py in the current folder is none
            "LANG": "C.UTF-8",
        }

    def run(self, words: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
        """Run the board's Python with these words; ``options`` are those of `subprocess.run`."""
        command = [str(self.python), *words]
        return subprocess.run(command, check=False, text=True, env=self.environment(), **options)  # type: ignore[call-overload, no-any-return]


def _digest(sources: Sequence[tuple[str, Path]]) -> str:
    """Names and contents of Python's files and of a package's metadata."""
    digest = hashlib.sha256()
    for name, source in sources:
        for path in sorted(path for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"):
            digest.update(f"{name}/{path.relative_to(source)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


@contextmanager
def _made(place: Path) -> Iterator[Path]:
    """Yield a folder beside ``place`` that takes its place when all went well: a cache may be lost, but not be half."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    temporary.chmod(0o755)
    try:
        yield temporary
        old = place.parent / f".{place.name}.{os.getpid()}.old"
        with suppress(FileNotFoundError):
            place.rename(old)
        temporary.rename(place)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _pinned(name: str) -> str:
    """A requirement: the version that is installed here, so that boards can be compared with this machine."""
    try:
        return f"{name}=={version(name).partition('+')[0]}"
    except PackageNotFoundError:
        return name


def _fakeroot() -> str:
    found = shutil.which("fakeroot")
    if found is None:
        raise EnvironmentFault("making the board's files needs root or fakeroot", remedy="sudo apt install fakeroot")
    return found


def _run(words: Sequence[str]) -> None:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise EnvironmentFault(
            f"{Path(words[0]).name} failed: {said[0]}", remedy="is the network there? What was fetched whole is kept"
        )
