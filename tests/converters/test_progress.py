import pytest

from edgekit_converters.progress import LogReporter, Silent, Stages


class Recorder(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def test_seconds_add_up_under_a_title_and_notes_are_told_once() -> None:
    recorder = Recorder()
    stages = Stages(recorder)
    for _ in range(2):
        with stages.stage("work", 3):
            assert list(stages.each([1, 2, 3])) == [1, 2, 3]
        stages.note("take care")
    assert list(stages.seconds) == ["work"]
    assert stages.seconds["work"] > 0
    assert stages.notes == recorder.said == ["take care"]


def test_a_log_gets_a_line_for_each_finished_stage(capsys: pytest.CaptureFixture[str]) -> None:
    stages = Stages(LogReporter())
    with stages.stage("read", 5):
        pass
    with pytest.raises(ValueError, match="broken"), stages.stage("convert"):
        raise ValueError("broken")
    stages.note("take care")
    assert capsys.readouterr().err == "read: 0.0 s, 5 samples\nnote: take care\n"
