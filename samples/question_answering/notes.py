"""Questions about real texts: the notes of the data sets that statsmodels ships, and what their variables mean.

Each note says where a data set comes from and what each of its variables is, as people wrote it down. From the lines
``NAME - definition`` two questions are made, whose answers stand in the note: what a name means, and which variable has
a meaning; two more ask for the numbers of observations and of variables. Written into the folder:

    train.jsonl     204 questions: {"question", "context", "answers": [{"text", "answer_start"}]} a line
    test.jsonl      82 questions about other data sets
    note.txt        the longest note of these

    python samples/question_answering/notes.py FOLDER
"""

from __future__ import annotations

import argparse
import json
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import Any

LONGEST_ANSWER = 110
HELD_OUT_EVERY = 4
_DEFINITION = re.compile(
    r"^[ \t]+(\w*[A-Za-z]\w*)[ \t]+[-:][ \t]+(\S.*(?:\n(?![ \t]+\w+[ \t]+[-:][ \t])[ \t]+\S.*)*)", re.M
)
_COUNT = re.compile(r"Number of (observations|variables)\s*[-:]\s*([\d,]+)", re.I)
_MEANING = ("What does {} mean?", "What is {}?", "How is {} defined?")
_NAME = ("Which variable is {}?", "What is the name of {}?")


@dataclass(frozen=True)
class Question:
    """A question about a text.

    Attributes:
        question: In words.
        context: The text.
        answer: The right answer, a part of the text.
        start: Where it stands there, in characters.
    """

    question: str
    context: str
    answer: str
    start: int

    def to_dict(self) -> dict[str, Any]:
        """Return a line of a ``.jsonl`` file."""
        answers = [{"text": self.answer, "answer_start": self.start}]
        return {"question": self.question, "context": self.context, "answers": answers}


def notes() -> dict[str, str]:
    """Return the notes of all data sets, by name: title, description, source and variables."""
    import statsmodels.datasets

    found = {}
    for module in pkgutil.iter_modules(statsmodels.datasets.__path__):
        if module.ispkg and module.name != "tests":
            data = import_module(f"statsmodels.datasets.{module.name}.data")
            parts = [dedent(str(getattr(data, part))).strip() for part in ("TITLE", "DESCRLONG", "SOURCE", "NOTE")]
            found[module.name] = "\n\n".join(parts)
    return found


def questions_about(note: str) -> Iterator[Question]:
    """Yield the questions that a note answers."""
    for number, match in enumerate(_DEFINITION.finditer(note)):
        name, meaning = match[1], match[2].strip()
        if len(meaning) > LONGEST_ANSWER or note.count(f"{name} ") > 2:
            continue
        yield Question(_MEANING[number % len(_MEANING)].format(name), note, meaning, match.start(2))
        told = " ".join(meaning.split()).rstrip(".")
        yield Question(_NAME[number % len(_NAME)].format(told[:1].lower() + told[1:]), note, name, match.start(1))
    for match in _COUNT.finditer(note):
        yield Question(f"How many {match[1].lower()} are there?", note, match[2], match.start(2))


def split() -> tuple[list[Question], list[Question]]:
    """Return questions to train on, and questions about data sets of which nothing was trained on."""
    train: list[Question] = []
    test: list[Question] = []
    for number, note in enumerate(notes().values()):
        (test if number % HELD_OUT_EVERY == 0 else train).extend(questions_about(note))
    return train, test


def main(folder: Path) -> None:
    """Write the questions."""
    folder.mkdir(parents=True, exist_ok=True)
    train, test = split()
    for name, asked in (("train", train), ("test", test)):
        lines = (json.dumps(one.to_dict(), ensure_ascii=False) + "\n" for one in asked)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    longest = max((one.context for one in test), key=len)
    (folder / "note.txt").write_text(longest, encoding="utf-8")
    print(f"wrote {len(train)} questions to {folder}/train.jsonl, {len(test)} to test.jsonl, and note.txt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write questions about the notes of data sets.")
    parser.add_argument("folder", type=Path)
    main(parser.parse_args().folder)
