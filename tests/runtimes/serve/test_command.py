"""`edgekit serve` as a service manager and a careful administrator see it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from edgekit.bundle import Bundle
from edgekit.cli import main
from tests.runtimes.serve.servers import Gate, Reply, Server, Serving, ask, serving

CommandRunner = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_is_in_flight_finish(gated_server: Serving, gate: Gate, number: signal.Signals) -> None:
    with gated_server() as server, ThreadPoolExecutor(2) as clients:
        running, waiting = clients.submit(ask, server), clients.submit(ask, server)
        first = gate.arrival()
        _wait_for_queue(server)
        server.process.send_signal(number)
        _wait_until_refused(server)
        first.close()
        gate.arrival().close()
        assert (running.result().status, waiting.result().status) == (200, 200)
        out, err = server.process.communicate(timeout=10)
        assert server.process.returncode == 0
        assert out == "stopped\n"
        assert "Traceback" not in err


def test_a_stop_is_bounded_even_when_the_engine_hangs(gated_server: Serving, gate: Gate) -> None:
    with gated_server() as server, ThreadPoolExecutor(1) as clients:
        stuck = clients.submit(ask, server)
        gate.arrival()
        start = time.monotonic()
        server.process.terminate()
        assert server.process.wait(10) == 0
        assert 3 < time.monotonic() - start < 5.5
        _is_told(stuck)
        assert server.process.stderr is not None
        assert "Traceback" not in server.process.stderr.read()


def test_a_second_signal_ends_at_once(gated_server: Serving, gate: Gate) -> None:
    with gated_server() as server, ThreadPoolExecutor(1) as clients:
        stuck = clients.submit(ask, server)
        gate.arrival()
        server.process.terminate()
        _wait_until_refused(server)
        start = time.monotonic()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == 0
        assert time.monotonic() - start < 2
        _is_told(stuck)
        assert server.process.stderr is not None
        assert "Traceback" not in server.process.stderr.read()


def _is_told(stuck: Future[Reply]) -> None:
    assert stuck.result().status == 503
    assert stuck.result().json == {"error": "the server is stopping"}


def _wait_for_queue(server: Server) -> None:
    for _ in range(2000):
        if server.metric("edgekit_queue_depth", model="model") == 1:
            return
    pytest.fail("the second request never waited")


def _wait_until_refused(server: Server) -> None:
    """Wait until nobody is accepted any more."""
    for _ in range(2000):
        with suppress(ConnectionRefusedError), socket.create_connection((server.host, server.port), timeout=5):
            continue
        return
    pytest.fail("the server still accepts")


def test_the_token_is_asked_for_when_one_is_given(person_bundle: Bundle) -> None:
    with serving(person_bundle.path, env={"EDGEKIT_TOKEN": "s3cret"}) as server:
        assert not any("s3cret" in line for line in server.said)
        for wrong in (
            {},
            {"Authorization": "Bearer s3cre"},
            {"Authorization": "s3cret"},
            {"Authorization": "Bearer é"},
        ):
            for path in ("/v2", "/metrics", "/v2/models/model/ready", "/v1/models/model/predict"):
                reply = server.ask("GET", path, headers=wrong)
                assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
                assert reply.json == {"error": "the token is missing or wrong"}
        assert server.ask("GET", "/v2/health/live").status == 200
        assert server.ask("GET", "/v2/health/ready").status == 200
        assert server.ask("GET", "/v2", headers={"Authorization": "Bearer s3cret"}).status == 200


def test_another_host_gets_a_random_token(person_bundle: Bundle) -> None:
    tokens = set()
    for _ in range(2):
        with serving(person_bundle.path, "--host", "0.0.0.0") as server:  # with a token
            (line,) = (line for line in server.said if line.startswith("token: "))
            tokens.add(line.split()[1])
            assert server.ask("GET", "/v2").status == 401
            assert server.ask("GET", "/v2", headers={"Authorization": f"Bearer {line.split()[1]}"}).status == 200
    assert len(tokens) == 2
    assert all(len(token) >= 32 for token in tokens)


def test_loopback_is_the_default_and_needs_no_token(server: Server) -> None:
    assert server.host == "127.0.0.1"
    assert server.port != 0
    assert server.ask("GET", "/v2").status == 200
    assert server.said[0].startswith("person: model.fp32.tflite on litert ")


def outcome(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        main(["serve", *map(str, words)])
    return int(stop.value.code or 0), capsys.readouterr().err


def test_a_port_in_use_is_the_environments_fault(person_bundle: Bundle, edgekit_command: CommandRunner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = edgekit_command("serve", person_bundle.path, "--port", str(port))
    assert done.returncode == 5
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in done.stderr
    assert "--port 0" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--host", "192.0.2.1"], 5, "cannot listen on 192.0.2.1"),
        (["--host", "no.such.host.invalid"], 5, "no address 'no.such.host.invalid'"),
        (["--token", ""], 2, "the token is empty"),
        (["--queue", "-1"], 2, "-1 is not in the range"),
        (["--timeout", "0"], 2, "0 is not in the range"),
        (["--recipe", "fp16"], 2, "expected fp32, int8"),
        (["--engine", "onnxruntime"], 3, "no onnx file for engine"),
    ],
)
def test_what_cannot_be_had_is_refused(
    capsys: pytest.CaptureFixture[str], person_bundle: Bundle, words: list[str], code: int, message: str
) -> None:
    found = outcome(capsys, person_bundle.path, "--port", "0", *words)
    assert found[0] == code
    assert message in found[1]


def test_a_bad_bundle_is_refused(capsys: pytest.CaptureFixture[str], own_person_bundle: Path) -> None:
    path = own_person_bundle / "model.fp32.tflite"
    path.write_bytes(path.read_bytes()[:-1] + b"\0\0")
    code, err = outcome(capsys, own_person_bundle, "--port", "0")
    assert (code, "is damaged: SHA-256" in err) == (3, True)
    code, err = outcome(capsys, own_person_bundle / "nowhere", "--port", "0")
    assert (code, "is not a bundle" in err) == (3, True)


def test_two_bundles_of_one_name_are_refused(capsys: pytest.CaptureFixture[str], person_bundle: Bundle) -> None:
    code, err = outcome(capsys, person_bundle.path, person_bundle.path, "--port", "0")
    assert code == 2
    assert "NAME=BUNDLE" in err
    code, err = outcome(capsys, f"a/b={person_bundle.path}", "--port", "0")
    assert code == 2
    assert "a model named 'a/b'" in err


@pytest.mark.parametrize("module", ["uvicorn", "starlette", "prometheus_client", "python_multipart"])
def test_without_the_extra_the_line_for_pip_is_given(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, person_bundle: Bundle, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    code, err = outcome(capsys, person_bundle.path, "--port", "0")
    assert code == 5
    assert err == (f"error: this needs {module}, which is not installed\n  remedy: pip install 'edgekit-ai[serve]'\n")
