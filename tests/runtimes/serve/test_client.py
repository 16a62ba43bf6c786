"""NVIDIA's `tritonclient[http]` against a real server: it must work unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

import edgekit
from edgekit.bundle import Bundle
from edgekit.engine import Array
from edgekit_runtimes.predictor import Predictor
from tests.runtimes.serve.servers import Server

CLIENTS = 16


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    with triton.InferenceServerClient(f"{server.host}:{server.port}") as made:
        yield made


@pytest.fixture(scope="module")
def pictures() -> Array:
    return np.random.default_rng(3).random((24, 96, 96, 3), np.float32)


@pytest.fixture(scope="module")
def answers(person_bundle: Bundle, pictures: Array) -> Array:
    """What the bundle's own engine answers to each picture."""
    from edgekit.binding import BoundEngine

    predictor: Predictor
    with edgekit.load(person_bundle.path) as predictor:
        artifact = predictor.artifact
        bound = BoundEngine(predictor.engine, person_bundle.spec, artifact.inputs, artifact.outputs)
        return np.stack([bound.run({"image": picture[None]})["scores"][0] for picture in pictures])


def tensor(array: Array, *, binary: bool = True, name: str = "image") -> Any:
    made = triton.InferInput(name, list(array.shape), "FP32")
    return made.set_data_from_numpy(array, binary_data=binary)


def test_server_and_model_metadata(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("person")
    assert client.is_model_ready("person", "1")
    assert not client.is_model_ready("cat")
    assert client.get_server_metadata()["name"] == "edgekit"
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("person", "1") == {
        "name": "person",
        "versions": ["1"],
        "platform": "litert_tflite",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 96, 96, 3]}],
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 2]}],
    }
    assert client.get_model_metadata("detector")["platform"] == "onnxruntime_onnx"
    assert [entry["name"] for entry in client.get_model_repository_index()] == ["person", "detector"]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_inference_in_json_and_binary(
    client: Any, pictures: Array, answers: Array, binary_in: bool, binary_out: bool | None
) -> None:
    outputs = None if binary_out is None else [triton.InferRequestedOutput("scores", binary_data=binary_out)]
    result = client.infer("person", [tensor(pictures[:1], binary=binary_in)], outputs=outputs, request_id="r 1")
    np.testing.assert_array_equal(result.as_numpy("scores"), answers[:1])
    assert result.get_response()["id"] == "r 1"
    assert result.get_response()["model_name"] == "person"


def test_a_batch(client: Any, pictures: Array, answers: Array) -> None:
    result = client.infer("person", [tensor(pictures[:3])], model_version="1")
    np.testing.assert_allclose(result.as_numpy("scores"), answers[:3], rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "version", "status"), [("cat", "", "404"), ("person", "2", "404"), ("detector", "", "400")]
)
def test_refusals_arrive_as_the_clients_exception(
    client: Any, pictures: Array, model: str, version: str, status: str
) -> None:
    with pytest.raises(triton.InferenceServerException) as refused:
        client.infer(model, [tensor(pictures[:1])], model_version=version)
    assert refused.value.status() == status
    assert "expected" in refused.value.message()


def test_compressed_bodies_are_refused_by_name(client: Any, pictures: Array) -> None:
    with pytest.raises(triton.InferenceServerException, match="Content-Encoding 'gzip'"):
        client.infer("person", [tensor(pictures[:1])], request_compression_algorithm="gzip")


def test_sixteen_clients_lose_nothing(server: Server, pictures: Array, answers: Array) -> None:
    before = server.metric("edgekit_inference_seconds_count", model="person")
    with triton.InferenceServerClient(f"{server.host}:{server.port}", concurrency=CLIENTS) as client:
        running = [
            (number, client.async_infer("person", [tensor(pictures[number % 24][None])], request_id=str(number)))
            for number in range(10 * CLIENTS)
        ]
        for number, request in running:
            result = request.get_result()
            assert result.get_response()["id"] == str(number)
            np.testing.assert_array_equal(result.as_numpy("scores")[0], answers[number % 24])
    assert server.metric("edgekit_inference_seconds_count", model="person") == before + 10 * CLIENTS
