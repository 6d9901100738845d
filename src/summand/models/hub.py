"""Asking the network once, and quietly: at the end of a cable that leads nowhere, loading must fail at once."""

from __future__ import annotations

import logging
import os
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

_PATIENCE = 10.0
_NOISY = ("huggingface_hub", "transformers", "httpx", "httpx2", "urllib3", "filelock")


def endpoint() -> str:
    """The hub's address: HF_ENDPOINT, or the public one."""
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def offline_by_wish() -> bool:
    """Whether HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) forbids the network."""
    from huggingface_hub import constants

    wish = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return constants.HF_HUB_OFFLINE or wish.upper() in ("1", "ON", "YES", "TRUE")


def first_stop(address: str) -> tuple[str, int]:
    """Host and port that a request to an address first talks to: its own, or the proxy's."""
    parts = urlsplit(address)
    host = parts.hostname or address
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if proxy and not proxy_bypass(host):
        parts = urlsplit(proxy if "//" in proxy else f"//{proxy}")
        host = parts.hostname or proxy
    return host, parts.port or (443 if parts.scheme == "https" else 1080 if parts.scheme.startswith("socks") else 80)


def reachable(address: str | None = None) -> bool:
    """Whether a connection to the hub (or its proxy) can be opened, found out within ten seconds.

    huggingface_hub would try again and again for a minute, and name resolution has no time limit of its own.
    """
    if offline_by_wish():
        return False
    answer: list[bool] = []

    def knock() -> None:
        try:
            socket.create_connection(first_stop(address or endpoint()), timeout=_PATIENCE).close()
            answer.append(True)
        except (OSError, UnicodeError, ValueError):
            answer.append(False)

    knocking = threading.Thread(target=knock, daemon=True)
    knocking.start()
    knocking.join(_PATIENCE)
    return bool(answer and answer[0])


@contextmanager
def cache_only(wanted: bool) -> Iterator[None]:
    """Let huggingface_hub look into its cache alone, as HF_HUB_OFFLINE=1 does."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    try:
        constants.HF_HUB_OFFLINE = before or wanted
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _not_from_open_clip(record: logging.LogRecord) -> bool:
    return "open_clip" not in Path(record.pathname).parts


@contextmanager
def quiet() -> Iterator[None]:
    """Our errors say what is wrong: silence open_clip on the root logger, the hub's retries, QuickGELU warnings."""
    root = logging.getLogger()
    # Without a handler, logging.warning() would install one for good.
    stopgap = logging.NullHandler()
    others: list[tuple[Any, int]] = [(logging.getLogger(name), logging.getLogger(name).level) for name in _NOISY]
    root.addHandler(stopgap)
    root.addFilter(_not_from_open_clip)
    try:
        for logger, _ in others:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="QuickGELU mismatch")
            yield
    finally:
        for logger, level in others:
            logger.setLevel(level)
        root.removeFilter(_not_from_open_clip)
        root.removeHandler(stopgap)
