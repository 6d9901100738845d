"""A language model behind an OpenAI-compatible address, asked with httpx: the one place of the package that talks to a
server of the user's choice."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from ...errors import SummandError, first_line
from .mining import Words
from .writers import instruction, lines_of

MOST_BYTES = 8 << 20
"""Of an answer; fifty descriptions are some kilobytes."""
_SHOWN = 200  # characters of an answer that is none


@dataclass(frozen=True)
class EndpointWriter:
    """An OpenAI-compatible endpoint. url: up to /v1, such as http://localhost:8000/v1; key: sent as bearer token, to
    this address alone: redirects are not followed. No message holds the key, nor a password in the address."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    timeout: float = 120.0

    def write(self, words: Words, image_of: str, classified_as: str, seed: int) -> list[str]:
        asked = {
            "model": self.model, "temperature": 0.6, "top_p": 0.9, "seed": seed,
            "messages": [{"role": "user", "content": instruction(words, image_of, classified_as)}],
        }  # fmt: skip
        return lines_of(self._answer(asked))

    def _answer(self, asked: object) -> str:
        try:
            import httpx
        except ImportError:
            raise SummandError("an endpoint needs httpx: pip install 'summand-clip[generate]'") from None
        try:
            address = httpx.URL(f"{self.url.strip().rstrip('/')}/chat/completions")
        except (httpx.InvalidURL, ValueError, TypeError):
            raise SummandError("the endpoint of a language model is no address (http://HOST:PORT/v1)") from None
        if address.scheme not in ("http", "https") or not address.host:
            raise SummandError("the endpoint of a language model begins with http:// or https:// and a host")
        shown = str(address.copy_with(userinfo=b"", query=None, fragment=None))
        key = (self.key or "").strip()
        if not (key.isascii() and key.isprintable()):
            raise SummandError("the key of the language model holds characters that no header can; copy it again")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            with (
                httpx.Client(timeout=self.timeout, follow_redirects=False, trust_env=True) as client,
                client.stream("POST", address, json=asked, headers=headers) as answer,
            ):
                content = _all_of(answer.iter_bytes(), shown)
                status = answer.status_code
        except SummandError:
            raise
        except Exception as error:  # of the network, the protocol, compression: one kind, without what was sent
            raise SummandError(
                f"the language model at {shown} cannot be reached ({type(error).__name__}"
                f"{self._said(error)}); start it, give another llm=, or write the prompts yourself from the words file"
            ) from None
        if 300 <= status < 400:
            raise SummandError(f"{shown} answers that it has moved; give its new address: no key follows a redirect")
        if status >= 400:
            raise SummandError(f"{shown} refuses with status {status}: {self._clean(content)}")
        try:
            return str(json.loads(content)["choices"][0]["message"]["content"])
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            raise SummandError(
                f"{shown} did not answer as an OpenAI-compatible endpoint does: {self._clean(content)!r}"
            ) from None

    def _said(self, error: Exception) -> str:
        said = self._clean(first_line(error).encode())
        return f": {said}" if said else ""

    def _clean(self, content: bytes) -> str:
        """The beginning of what came, in one line that can be printed, without the key."""
        text = content.decode("utf-8", "replace")
        for secret in (self.key, (self.key or "").strip()):
            text = text.replace(secret, "…") if secret else text
        return "".join(c if c.isprintable() else " " for c in text)[:_SHOWN].strip()


def _all_of(parts: Iterable[bytes], shown: str) -> bytes:
    found = bytearray()
    for part in parts:
        found += part
        if len(found) > MOST_BYTES:
            raise SummandError(f"{shown} answers with more than {MOST_BYTES >> 20} MB; that is no list of texts")
    return bytes(found)
