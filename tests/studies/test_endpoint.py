"""A language model behind an address that answers in every wrong way: one kind of error, which never holds the key."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable

import pytest

import summand
from summand.studies.attack import endpoint
from summand.studies.attack.endpoint import EndpointWriter
from summand.studies.attack.mining import Words

WORDS = Words("similar words", ("a ring",), (1.0,))
KEY = "sk-very-secret-0123456789"
GOOD = json.dumps({"choices": [{"message": {"content": "1. a star\n2. two stars"}}]}).encode()


def answering(answer: bytes | Callable[[bytes], bytes], seen: list[bytes]) -> tuple[str, socket.socket]:
    """A server that gives every request the same bytes, and hangs up. Its address, and what to close."""
    server = socket.create_server(("127.0.0.1", 0))

    def run() -> None:
        while True:
            try:
                one, _ = server.accept()
            except OSError:
                return
            with one:
                one.settimeout(5)
                try:
                    seen.append(one.recv(1 << 16))
                    one.sendall(answer(seen[-1]) if callable(answer) else answer)
                    one.shutdown(socket.SHUT_WR)  # what is sent is read, whatever of the request is not
                    while one.recv(1 << 16):
                        pass
                except OSError:
                    pass

    threading.Thread(target=run, daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}/v1", server


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def asked(url: str, key: str | None = KEY, timeout: float = 3.0) -> list[str]:
    return EndpointWriter(url, "tiny", key, timeout).write(WORDS, "star", "cross", 0)


def test_a_good_answer_is_read_and_the_key_is_sent():
    seen: list[bytes] = []
    url, server = answering(http(GOOD), seen)
    with server:
        assert asked(url, f"{KEY}\n") == ["a star", "two stars"]
    assert f"authorization: bearer {KEY}".encode().lower() in seen[0].lower()


WRONG = {
    "nothing": b"",
    "no http": b"hello\r\n\r\n",
    "short body": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + GOOD[:20],
    "bad status": b"HTTP/1.1 abc OK\r\n\r\n",
    "refused": http(b"the key " + KEY.encode() + b" is unknown \x1b[31m", "401 Unauthorized"),
    "deep": http(b"[" * 200_000),
    "other json": http(b'{"choices": []}'),
    "a list": http(b"[1, 2]"),
    "no json": http(b"<html>" + KEY.encode()),
    "not unicode": http(b"\xff\xfe\x00"),
    "bad compression": http(b"no gzip", "200 OK", "Content-Encoding: gzip"),
    "many headers": b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(20_000)) + b"\r\n" + GOOD,
    "bad length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + GOOD,
    "bad chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_answers_are_one_kind_of_error_without_the_key(name):
    url, server = answering(WRONG[name], [])
    with server, pytest.raises(summand.SummandError) as error:
        asked(url)
    assert KEY not in str(error.value)
    assert "127.0.0.1" in str(error.value)
    assert str(error.value).isprintable()
    assert error.value.__cause__ is None


def test_an_answer_without_end_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(endpoint, "MOST_BYTES", 1 << 20)
    url, server = answering(http(b"x" * (3 << 20)), [])
    with server, pytest.raises(summand.SummandError, match="more than 1 MB"):
        asked(url)


def test_one_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(summand.SummandError, match="Timeout"):
        asked(f"http://127.0.0.1:{server.getsockname()[1]}/v1", timeout=0.3)


def test_the_key_follows_no_redirect():
    stolen: list[bytes] = []
    thief, other = answering(http(GOOD), stolen)
    url, server = answering(http(b"", "307 Temporary Redirect", f"Location: {thief}"), [])
    with server, other, pytest.raises(summand.SummandError, match="moved"):
        asked(url)
    assert not stolen


@pytest.mark.parametrize(
    "url",
    ["ftp://x/v1", "http://", "http://host:99999999/v1", "http://[::1", "not an address", "http://h\x00st/v1", "",
     "http://127.0.0.1:1/v1", "http://user:hunter2@127.0.0.1:1/v1", "http://no-such-host.invalid/v1?token=hunter2"],
)  # fmt: skip
def test_addresses_that_lead_nowhere(url):
    with pytest.raises(summand.SummandError) as error:
        asked(url)
    assert KEY not in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_key_that_no_header_can_hold_is_not_shown():
    with pytest.raises(summand.SummandError, match="copy it again") as error:
        asked("http://127.0.0.1:1/v1", "sk-\x01sécret")
    assert "sk-" not in str(error.value)
    assert KEY not in repr(EndpointWriter("http://h/v1", "m", KEY))
