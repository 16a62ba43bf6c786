"""Size, time and queue: what is too much is refused, and nothing that was accepted is lost."""

from __future__ import annotations

import socket
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing

from tests.runtimes.serve.servers import HEADERS, INFER, Gate, Reply, Server, Serving, ask, body


def raw(server: Server, head: str, sent: bytes = b"") -> bytes:
    """Send bytes as they are and return all that comes back until the server hangs up."""
    with socket.create_connection((server.host, server.port), timeout=30) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n" + sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_declared_size_above_the_limit_is_refused_before_the_body_comes(server: Server) -> None:
    before = server.metric("edgekit_rejected_total", model="person", reason="too large")
    head = "POST /v2/models/person/infer HTTP/1.1\nHost: x\nContent-Length: 99999999999\n"
    reply = raw(server, head)
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b'{"error":"the request is larger than 3000000 bytes"}' in reply
    expecting = raw(server, head + "Expect: 100-continue\n")
    assert expecting.startswith(b"HTTP/1.1 413 ")  # and no 100 Continue
    assert server.metric("edgekit_rejected_total", model="person", reason="too large") == before + 2


def test_a_chunked_body_is_read_up_to_the_limit(server: Server) -> None:
    chunk = b"f4240\r\n" + bytes(1_000_000) + b"\r\n"
    head = "POST /v2/models/person/infer HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n"
    assert raw(server, head, 4 * chunk + b"0\r\n\r\n").startswith(b"HTTP/1.1 413 ")


def test_http_that_is_none_is_refused(server: Server) -> None:
    assert raw(server, "HELLO\n").startswith(b"HTTP/1.1 400 ")
    assert raw(server, "POST /v2 HTTP/1.1\nHost: x\nContent-Length: many\n").startswith(b"HTTP/1.1 400 ")


def test_a_client_that_sends_too_slowly_is_refused(gated_server: Serving) -> None:
    with gated_server("--timeout", "0.2") as server:
        head = f"POST {INFER} HTTP/1.1\nHost: x\nContent-Length: 1000\n"
        reply = raw(server, head, b"{")
        assert reply.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 0.2 s" in reply
        assert server.metric("edgekit_rejected_total", model="model", reason="slow client") == 1


def test_what_does_not_fit_the_queue_gets_503_and_the_rest_is_answered(gated_server: Serving, gate: Gate) -> None:
    with gated_server("--queue", "3") as server, ThreadPoolExecutor(16) as clients:
        first = clients.submit(ask, server)
        running = gate.arrival()
        others = [clients.submit(ask, server) for _ in range(11)]
        early = [future.result() for future in _first_done(others, 8)]
        assert [reply.status for reply in early] == [503] * 8
        assert all(reply.headers["retry-after"] == "1" and "is busy" in reply.json["error"] for reply in early)
        assert server.metric("edgekit_rejected_total", model="model", reason="queue full") == 8
        assert server.metric("edgekit_queue_depth", model="model") == 3
        assert server.ask("GET", "/v2/health/ready").status == 200  # the event loop is free
        running.close()
        for _ in range(3):
            gate.arrival().close()
        assert sorted(future.result().status for future in [first, *others]) == [200] * 4 + [503] * 8
        assert server.metric("edgekit_requests_total", model="model", endpoint="infer", status="200") == 4


def _first_done(futures: list[Future[Reply]], count: int) -> list[Future[Reply]]:
    done = as_completed(futures, timeout=30)
    return [next(done) for _ in range(count)]


def test_no_answer_in_time_is_503_and_the_next_request_is_served(gated_server: Serving, gate: Gate) -> None:
    with gated_server("--timeout", "0.4") as server, ThreadPoolExecutor(2) as clients:
        late = clients.submit(ask, server)
        running = gate.arrival()
        assert late.result().status == 503
        assert "no answer within 0.4 s" in late.result().json["error"]
        assert server.metric("edgekit_rejected_total", model="model", reason="timeout") == 1
        running.close()
        served = clients.submit(ask, server)
        gate.arrival().close()
        assert served.result().status == 200


def test_workers_answer_at_the_same_time(gated_server: Serving, gate: Gate) -> None:
    with gated_server("--workers", "2", "--queue", "0") as server, ThreadPoolExecutor(2) as clients:
        both = [clients.submit(ask, server) for _ in range(2)]
        arrivals = [gate.arrival() for _ in both]
        assert ask(server).status == 503
        for arrival in arrivals:
            arrival.close()
        assert [future.result().status for future in both] == [200, 200]


def test_a_client_that_hangs_up_leaves_the_queue(gated_server: Serving, gate: Gate) -> None:
    with gated_server() as server, ThreadPoolExecutor(2) as clients:
        first = clients.submit(ask, server)
        running = gate.arrival()
        with closing(server.connect()) as impatient:
            impatient.request("POST", INFER, body(), HEADERS)
            _until(server, "edgekit_queue_depth", 1, model="model")
        _until(server, "edgekit_queue_depth", 0, model="model")
        running.close()
        assert first.result().status == 200
        assert server.metric("edgekit_requests_total", model="model", endpoint="infer", status="499") == 1


def _until(server: Server, name: str, value: float, **labels: str) -> None:
    for _ in range(2000):
        if server.metric(name, **labels) == value:
            return
    raise AssertionError(f"{name} did not become {value}")


def test_what_goes_wrong_inside_is_logged_and_not_told(gated_server: Serving, gate: Gate) -> None:
    with gated_server() as server, ThreadPoolExecutor(1) as clients:
        failing = clients.submit(ask, server)
        gate.arrival().sendall(b"!")
        assert failing.result().status == 500
        assert failing.result().json == {"error": "internal error"}
        served = clients.submit(ask, server)
        gate.arrival().close()
        assert served.result().status == 200
        server.process.terminate()
        assert "RuntimeError: secret of the engine" in server.process.communicate(timeout=10)[1]
