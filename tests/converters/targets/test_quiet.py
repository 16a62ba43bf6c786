from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings

import pytest

from edgekit_converters.targets.quiet import quiet


def test_prints_of_every_kind_are_kept_away_and_at_hand(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet() as noise:
        print("from print")
        sys.stderr.write("from stderr\n")
        os.write(2, b"from C++\n")
        logging.getLogger("some.library").warning("from logging")
        warnings.warn("from warnings", stacklevel=1)
    shown = capfd.readouterr()
    assert shown.out + shown.err == ""
    for text in ("from print", "from stderr", "from C++", "from logging", "from warnings"):
        assert text in noise.text


def test_streams_work_again_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with pytest.raises(ZeroDivisionError), quiet() as noise:
        print("inside")
        raise ZeroDivisionError
    print("outside")
    os.write(1, b"outside too\n")
    assert (sys.stdout, sys.stderr) == before
    assert noise.text == "inside\n"
    assert capfd.readouterr().out.splitlines() == ["outside", "outside too"]


def test_a_handler_made_inside_still_works_outside(capfd: pytest.CaptureFixture[str]) -> None:
    logger = logging.Logger("made.inside")
    with quiet():
        logger.addHandler(logging.StreamHandler())
    logger.warning("afterwards")
    assert "afterwards" in capfd.readouterr().err


def test_module_level_logging_leaves_no_handler_on_the_root_logger() -> None:
    """`logging.warning` calls basicConfig; pytest has handlers there, so this needs a process of its own."""
    code = (
        "import logging\nfrom edgekit_converters.targets.quiet import quiet\n"
        "with quiet(): logging.warning('noise')\nassert logging.root.handlers == [], logging.root.handlers"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_tail_is_the_last_lines_without_blanks_and_terminal_codes() -> None:
    with quiet() as noise:
        print("first\n\n\x1b[1mbold\x1b[0m\n10%\r20%\n   \n" + "x" * 300)
    assert noise.tail(3).splitlines() == ["10%", "20%", "x" * 200]


def test_only_the_end_of_much_noise_is_kept() -> None:
    with quiet() as noise:
        for number in range(20_000):
            print(f"line {number}")
    assert len(noise.text) <= 64 * 1024
    assert noise.text.endswith("line 19999\n")
