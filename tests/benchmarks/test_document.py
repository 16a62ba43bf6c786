"""Tables go between their markers and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.document import rewrite, table


def test_only_what_is_between_the_markers_changes(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("# Before\n\n<!-- a:start -->\nold\n<!-- a:end -->\n\nafter\n", encoding="utf-8")
    for _ in range(2):
        rewrite(path, "a", table(("x", "y"), [("1", "2")]), "text")
    assert path.read_text(encoding="utf-8") == (
        "# Before\n\n<!-- a:start -->\n\n| x | y |\n| --- | --- |\n| 1 | 2 |\n\ntext\n\n<!-- a:end -->\n\nafter\n"
    )


@pytest.mark.parametrize("text", ["nothing", "<!-- a:start --> and no end", "<!-- a:end --> <!-- a:start -->"])
def test_a_document_without_markers_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="has no <!-- a:start -->"):
        rewrite(path, "a", "table")
    assert path.read_text(encoding="utf-8") == text
