"""Install, update, roll back and remove the service of a bundle."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgekit.atomic import atomic_file
from edgekit.bundle import Bundle
from edgekit.errors import EdgeKitError, EnvironmentFault, QualityError, UsageError
from edgekit_runtimes.service.store import Store
from edgekit_runtimes.service.systemd import Systemd
from edgekit_runtimes.service.unit import Job, unit_text

BUNDLES = Path("var/lib/edgekit")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")
_VERIFY_SECONDS = 600
Prove = Callable[[Path], None]


@dataclass(frozen=True)
class Services:
    """The services of a machine.

    Attributes:
        systemd: Its service manager.
        prove: Raises QualityError when a bundle does not give the original's answers here.
    """

    systemd: Systemd
    prove: Prove

    def store(self, name: str) -> Store:
        """Bundles of a service. Raises UsageError for a name that no unit can have."""
        if not _NAME.fullmatch(name):
            raise UsageError(f"a service named {name!r}", expected="up to 41 of a-z, 0-9, _ and -")
        return Store(self.systemd.root / BUNDLES / name)

    def install(self, bundle: Path, job: Job, *, start: bool = True) -> Path:
        """Prove a bundle, write its unit and start it.

        Args:
            bundle: The bundle; it is copied.
            job: What to do with it.
            start: Whether to start it now; it starts at boot in any case.

        Returns:
            The unit file.

        Raises:
            QualityError: The bundle does not give the original's answers here; nothing is installed.
            EnvironmentFault: No permission, or the service does not come up; its unit stays, to be looked at.
        """
        store = self.store(job.name)
        if job.user is None:
            refuse_private(job.python, self.systemd.root)
        text = unit_text(job)
        with _permission("install a service"):
            place = store.add(bundle)
            self.prove(place)
            store.switch(place)
            path = self.systemd.unit(job.unit)
            with atomic_file(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
            if _has_password(job):
                path.chmod(0o600)
        self.systemd.enable(job.unit)
        if start and self.systemd.live:
            self.systemd.restart(job.unit)
        store.tidy()
        return path

    def update(self, name: str, bundle: Path) -> Path:
        """Exchange the bundle of a service for one that proves itself first, and again by answering.

        Returns:
            Folder of the bundle that runs now.

        Raises:
            QualityError: It does not give the original's answers here, or the service does not answer with it; the
                old bundle runs.
        """
        store = self.store(name)
        self._known(name)
        with _permission("update a service"):
            place = store.add(bundle)
            if place == store.running:
                return place
            try:
                self.prove(place)
            except EdgeKitError:
                store.tidy()
                raise
            store.switch(place)
        self._restart_or_back(name, store, place)
        store.tidy()
        return place

    def _restart_or_back(self, name: str, store: Store, place: Path) -> None:
        if not self.systemd.live:
            return
        try:
            self.systemd.restart(f"edgekit-{name}")
        except EnvironmentFault as fault:
            old = store.back()
            self.systemd.restart(f"edgekit-{name}")
            raise QualityError(
                f"{name} does not answer with the new bundle ({fault.received}); {old.name} runs again",
                remedy=f"edgekit service logs {name}",
            ) from fault

    def back(self, name: str) -> Path:
        """Go back to the bundle before; returns its folder."""
        store = self.store(name)
        self._known(name)
        with _permission("change a service"):
            place = store.back()
        if self.systemd.live:
            self.systemd.restart(f"edgekit-{name}")
        return place

    def remove(self, name: str, *, purge: bool) -> None:
        """Stop a service and remove its unit, and with ``purge`` its bundles too; results stay."""
        store = self.store(name)
        self._known(name)
        with _permission("remove a service"):
            self.systemd.remove(f"edgekit-{name}")
            if purge:
                shutil.rmtree(store.folder, ignore_errors=True)

    def _known(self, name: str) -> None:
        path = self.systemd.unit(f"edgekit-{name}")
        if not path.is_file():
            listed = ", ".join(sorted(self.names())) or "none"
            raise UsageError(f"no service named {name}", expected=f"one of: {listed}")

    def names(self) -> list[str]:
        """Services that are installed."""
        units = self.systemd.unit("edgekit-x").parent.glob("edgekit-*.service")
        return sorted(path.stem.removeprefix("edgekit-") for path in units)


def verified(bundle: Path) -> None:
    """Run ``edgekit verify`` on a bundle in a process of its own. Raises QualityError with what it said."""
    Bundle(bundle)
    words = [sys.executable, "-m", "edgekit.cli", "verify", str(bundle)]
    try:
        done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=_VERIFY_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise QualityError(f"verifying {bundle} took more than {_VERIFY_SECONDS} s") from error
    if done.returncode:
        said = (done.stderr.strip() or "no reason given").removeprefix("error: ")
        raise QualityError(f"the bundle does not prove itself on this machine: {said}")


def refuse_private(python: Path, root: Path) -> None:
    """Raise UsageError where another user could not start the interpreter, such as one in a private home."""
    place = root / python.relative_to("/") if root != Path("/") else python
    for folder in place.parents:
        if folder.is_relative_to(root) and folder.is_dir() and not folder.stat().st_mode & 0o001:
            raise UsageError(
                f"{python}: other users may not enter {folder}",
                expected="an interpreter that an unprivileged user can start",
                remedy="pass --as USER, or install edgekit in /opt/edgekit with `python3 -m venv /opt/edgekit`",
            )


def _has_password(job: Job) -> bool:
    return any("@" in word and "://" in word for word in (job.source, *job.outputs, *job.options))


@contextmanager
def _permission(what: str) -> Iterator[None]:
    """Say in words that only root may do it."""
    try:
        yield
    except PermissionError as error:
        raise EnvironmentFault(
            f"no permission to {what}: {error.filename}", expected="root", remedy="run it with sudo"
        ) from error
