"""A Raspberry Pi under emulation. Its files are kept between runs in the user's cache."""

from __future__ import annotations

import os

import pytest

from edgekit.errors import EnvironmentFault
from edgekit_runtimes.emulated.boards import BOARDS
from edgekit_runtimes.emulated.root import BoardRoot, require_programs
from tests.runtimes.conftest import detector_bundle, models, person_bundle, person_golden, person_maker, photos

__all__ = ["detector_bundle", "models", "person_bundle", "person_golden", "person_maker", "photos"]


@pytest.fixture(scope="session")
def emulator() -> None:
    """Emulation is possible; tests are skipped by name where it is not (never in CI)."""
    try:
        require_programs()
    except EnvironmentFault as fault:
        if os.environ.get("CI"):
            raise
        pytest.skip(fault.received)


@pytest.fixture(scope="session", params=sorted(BOARDS))
def board(request: pytest.FixtureRequest, emulator: None) -> BoardRoot:
    """Each board."""
    return BoardRoot(BOARDS[request.param], print)


@pytest.fixture(scope="session")
def pi5(emulator: None) -> BoardRoot:
    """One board, for what is the same on all of them."""
    return BoardRoot(BOARDS["pi5"], print)
