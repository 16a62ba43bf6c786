"""Bundles of a service on disk: each in a folder named by its contents, and a link to the one that runs.

    /var/lib/edgekit/NAME/
        bundles/HASH/       whole bundles, never changed
        current             link to the one that runs
        previous            link to the one before it

A link is replaced by a rename, so that the power may fail at any moment.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from edgekit.atomic import atomic_folder, sync
from edgekit.bundle import Bundle, bundle_sha256
from edgekit.errors import BundleRefused, UsageError

_HASH_LETTERS = 16


class Store:
    """The bundles of one service.

    Args:
        folder: Of the service.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def current(self) -> Path:
        """The link to the bundle that runs."""
        return self.folder / "current"

    @property
    def running(self) -> Path | None:
        """The bundle that the link names; ``None`` before the first."""
        return self._target("current")

    @property
    def before(self) -> Path | None:
        """The bundle that ran before; ``None`` where there was none."""
        return self._target("previous")

    def add(self, bundle: Path) -> Path:
        """Copy a bundle in, whole and checked, and return its folder; one that is there already is left as it is.

        Raises:
            BundleRefused: A file does not have its checksum.
            EnvironmentFault: The disk is full; nothing is left behind.
        """
        Bundle(bundle)
        place = self.folder / "bundles" / contents_of(bundle)
        if place.is_dir():
            with suppress(BundleRefused):  # the power failed while it was removed
                Bundle(place)
                return place
        with atomic_folder(place) as temporary:
            for file in sorted(bundle.iterdir()):
                shutil.copyfile(file, temporary / file.name)
            Bundle(temporary)
        return place

    def switch(self, place: Path) -> None:
        """Let the link name another bundle; the one that it named becomes the one before."""
        running = self.running
        if running == place:
            return
        if running is not None:
            self._link("previous", running)
        self._link("current", place)

    def back(self) -> Path:
        """Exchange the bundle that runs for the one before it, and return that.

        Raises:
            UsageError: There is none.
        """
        before = self.before
        if before is None or not before.is_dir():
            raise UsageError(f"{self.folder.name}: no bundle before this one", expected="an update to go back from")
        self.switch(before)
        return before

    def tidy(self) -> None:
        """Remove bundles that neither run nor ran before."""
        kept = {self.running, self.before}
        for place in sorted((self.folder / "bundles").glob("*")):
            if place not in kept:
                shutil.rmtree(place)

    def _target(self, name: str) -> Path | None:
        with suppress(OSError):
            return self.folder / os.readlink(self.folder / name)
        return None

    def _link(self, name: str, place: Path) -> None:
        temporary = self.folder / f".{name}.tmp"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(place.relative_to(self.folder))
        os.replace(temporary, self.folder / name)
        sync(self.folder)


def contents_of(bundle: Path) -> str:
    """Name of a bundle's contents: a hash of its list of checksums. Raises BundleRefused without one."""
    Bundle(bundle, check=False)
    return bundle_sha256(bundle)[:_HASH_LETTERS]
