"""What a server answers to good and to wrong requests, over real connections."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import edgekit
from edgekit.bundle import Bundle
from tests.runtimes.serve.servers import Server

INFER = "/v2/models/person/infer"
PIXELS = 96 * 96 * 3
HUGE = [2**31 - 1, 96, 96, 3]


def entry(**changes: Any) -> dict[str, Any]:
    return {"name": "image", "shape": [1, 96, 96, 3], "datatype": "FP32", "data": [0] * PIXELS, **changes}


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in entry().items() if name != key}


def binary(size: object, **changes: Any) -> dict[str, Any]:
    return {**without("data"), "parameters": {"binary_data_size": size}, **changes}


WRONG: list[tuple[object, str]] = [
    (b"", "not JSON"),
    (b"\xff\xfe\x00", "not JSON"),
    (b"[" * 100_000, "not JSON"),
    (b'{"inputs": NaN}', "NaN is no JSON number"),
    (b'{"inputs": [{"name": "image", "data": [Infinity]}]}', "Infinity is no JSON number"),
    (b'{"inputs": ' + b"9" * 5000 + b"}", "not JSON"),
    ([], "expected a JSON object"),
    ({}, "inputs: None"),
    ({"inputs": {}}, "inputs: {}"),
    ({"inputs": []}, "no input 'image'"),
    ({"inputs": [5]}, "expected a JSON object"),
    ({"inputs": [entry(name="picture")]}, "input 'picture'; expected one of ['image']"),
    ({"inputs": [entry(name=["image"])]}, "expected one of ['image']"),
    ({"inputs": [entry(), entry()]}, "input 'image' twice"),
    ({"inputs": [entry(datatype="FP64")]}, "datatype 'FP64'; expected FP32"),
    ({"inputs": [without("datatype")]}, "datatype None"),
    ({"inputs": [without("shape")]}, "shape None"),
    ({"inputs": [entry(shape=[1, 96, 96])]}, "shape [1, 96, 96]; expected [-1, 96, 96, 3]"),
    ({"inputs": [entry(shape=[1, 3, 96, 96])]}, "shape [1, 3, 96, 96]"),
    ({"inputs": [entry(shape=[-1, 96, 96, 3])]}, "shape [-1, 96, 96, 3]"),
    ({"inputs": [entry(shape=[0, 96, 96, 3], data=[])]}, "shape [0, 96, 96, 3]"),
    ({"inputs": [entry(shape=[True, 96, 96, 3])]}, "shape [True, 96, 96, 3]"),
    ({"inputs": [entry(shape=[1.0, 96, 96, 3])]}, "shape [1.0, 96, 96, 3]"),
    ({"inputs": [entry(shape=[10**30, 96, 96, 3])]}, "shape [1000000000"),
    ({"inputs": [entry(shape="1,96,96,3")]}, "shape '1,96,96,3'"),
    ({"inputs": [entry(shape=HUGE)]}, "59373627872256 values"),
    ({"inputs": [binary(PIXELS * 4 * (2**31 - 1), shape=HUGE)]}, "expected the header Inference-Header"),
    ({"inputs": [entry(data=[0] * (PIXELS - 1))]}, f"expected {PIXELS} values"),
    ({"inputs": [entry(data=[[0] * PIXELS, [0]])]}, f"expected {PIXELS} values"),
    ({"inputs": [entry(data=["0"] * PIXELS)]}, "data of another kind"),
    ({"inputs": [entry(data=[1e300] * PIXELS)]}, "values outside FP32"),
    ({"inputs": [entry(data="zeros")]}, "data of input 'image': 'zeros'"),
    ({"inputs": [without("data")]}, "expected either data or binary_data_size"),
    ({"inputs": [entry(parameters={"binary_data_size": 4})]}, "expected either data or binary_data_size"),
    ({"inputs": [entry(parameters=5)]}, "parameters of input 'image' is 5"),
    ({"inputs": [binary(12)]}, f"binary_data_size 12; expected {4 * PIXELS}"),
    ({"inputs": [binary("12")]}, "binary_data_size '12'"),
    ({"inputs": [binary(-4)]}, "binary_data_size -4"),
    ({"inputs": [binary(4 * PIXELS)]}, "expected the header Inference-Header-Content-Length"),
    ({"inputs": [binary(4, parameters={"shared_memory_region": "r"})]}, "parameter 'shared_memory_region'"),
    ({"inputs": [entry()], "outputs": [{"name": "boxes"}]}, "output 'boxes'; expected one of ['scores']"),
    ({"inputs": [entry()], "outputs": [{"name": "scores"}] * 2}, "output 'scores' twice"),
    ({"inputs": [entry()], "outputs": {"name": "scores"}}, "outputs: {"),
    ({"inputs": [entry()], "outputs": [{"name": "scores", "parameters": {"binary_data": 1}}]}, "binary_data 1"),
    ({"inputs": [entry()], "outputs": [{"name": "scores", "parameters": {"classification": 3}}]}, "classification"),
    ({"inputs": [entry()], "id": 7}, "id 7; expected a string"),
    ({"inputs": [entry()], "parameters": [1]}, "parameters is [1]"),
    ({"inputs": [entry()], "parameters": {"sequence_id": 3}}, "parameter 'sequence_id'"),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_wrong_requests_get_400_and_the_cause(server: Server, number: int) -> None:
    content, cause = WRONG[number]
    reply = server.ask("POST", INFER, content if isinstance(content, bytes) else json.dumps(content).encode())
    assert reply.status == 400
    assert cause in reply.json["error"]
    assert len(reply.body) < 1000


@pytest.mark.parametrize(
    ("length", "data", "cause"),
    [
        ("0", b"", "Inference-Header-Content-Length 0"),
        ("-1", b"", "expected a number of bytes"),
        ("x", b"", "expected a number of bytes"),
        ("9" * 30, b"", "expected a number of bytes"),
        ("999999", b"", "in a body of"),
        (None, b"\0" * 4 * PIXELS, "not JSON"),
        ("right", b"\0" * (4 * PIXELS - 1), f"{4 * PIXELS - 1} bytes are left"),
        ("right", b"\0" * (4 * PIXELS + 1), f"{4 * PIXELS + 1} bytes of binary data"),
    ],
)
def test_wrong_binary_requests_get_400_and_the_cause(
    server: Server, length: str | None, data: bytes, cause: str
) -> None:
    text = json.dumps({"inputs": [binary(4 * PIXELS)]}).encode()
    headers = {} if length is None else {"Inference-Header-Content-Length": length.replace("right", str(len(text)))}
    reply = server.ask("POST", INFER, text + data, headers)
    assert reply.status == 400
    assert cause in reply.json["error"]


def test_answers_are_not_held_back_for_an_acknowledgement(server: Server) -> None:
    """Without TCP_NODELAY each answer on a kept connection waits 40 ms for the client's delayed acknowledgement."""
    seconds = []
    with closing(server.connect()) as connection:
        for _ in range(20):
            start = time.perf_counter()
            connection.request("GET", "/v2/health/live")
            connection.getresponse().read()
            seconds.append(time.perf_counter() - start)
    assert min(seconds[1:]) < 0.02


def peak_memory(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) * 1024


def test_claims_of_size_allocate_nothing(server: Server) -> None:
    server.ask("POST", INFER, json.dumps({"inputs": [entry()]}).encode())
    before = peak_memory(server)
    text = json.dumps({"inputs": [binary(PIXELS * 4 * (2**31 - 1), shape=HUGE)]}).encode()
    for headers in ({}, {"Inference-Header-Content-Length": str(len(text))}):
        assert server.ask("POST", INFER, text, headers).status == 400
    assert peak_memory(server) - before < 20 << 20


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/models/cat", 404),
        ("GET", "/v2/models/person/versions/2", 404),
        ("POST", "/v2/models/cat/infer", 404),
        ("POST", "/v1/models/cat/predict", 404),
        ("GET", INFER, 405),
        ("POST", "/v2/repository/models/person/unload", 400),
        ("POST", "/v1/models/detector/predict", 400),
        ("GET", "/v2/models/..%2f..%2fetc", 404),
    ],
)
def test_wrong_addresses_get_an_error_in_json(server: Server, method: str, path: str, status: int) -> None:
    reply = server.ask(method, path)
    assert reply.status == status
    assert reply.json["error"]


def test_a_picture_gets_the_tasks_result(server: Server, person_bundle: Bundle, photos: Sequence[Path]) -> None:
    with edgekit.load(person_bundle.path) as predictor:
        wanted = predictor.predict(photos[0]).to_dict()
    reply = server.ask("POST", "/v1/models/person/predict", photos[0].read_bytes(), {"Content-Type": "image/jpeg"})
    assert reply.status == 200
    assert reply.json == {"model_name": "person", "model_version": "1", "result": wanted}


@pytest.mark.parametrize(
    ("change", "kind", "refusal"),
    [
        (lambda photo: photo[: len(photo) // 2], "image/jpeg", (400, "truncated JPEG")),
        (lambda photo: b"", "image/jpeg", (400, "not a JPEG")),
        (lambda photo: b"BM" + photo, "image/bmp", (400, "the picture")),
        (lambda photo: photo, "application/json", (415, "expected a picture")),
    ],
)
def test_what_is_no_picture_is_refused(
    server: Server, photos: Sequence[Path], change: Any, kind: str, refusal: tuple[int, str]
) -> None:
    body = change(photos[0].read_bytes())
    reply = server.ask("POST", "/v1/models/person/predict", body, {"Content-Type": kind})
    assert reply.status == refusal[0]
    assert refusal[1] in reply.json["error"]


def test_requests_are_counted_under_names_of_the_server(server: Server) -> None:
    before = server.metric("edgekit_requests_total", model="", endpoint="infer", status="404")
    server.ask("POST", "/v2/models/made-up/infer")
    assert server.metric("edgekit_requests_total", model="", endpoint="infer", status="404") == before + 1
    text = server.ask("GET", "/metrics").body.decode()
    assert "made-up" not in text
    for name in ("edgekit_request_seconds_bucket", "edgekit_queue_depth", "process_resident_memory_bytes"):
        assert name in text
