"""A pass that is written down once and played back: a CUDA graph, or on a CPU the list of torch's own operations."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

Numbers = tuple[Tensor, ...]
Work = Callable[[Tensor], Numbers]

_WARM_UPS = 3  # what CUDA libraries set up at their first calls is no part of a graph


def recorded(work: Work, pixels: Tensor) -> Work:
    """What `work` does with such pixels, played back for others of their shape; what it gives is the caller's own. No
    Python of the model runs in it, and its weights are read where they lie."""
    with torch.inference_mode(False), torch.no_grad():
        return _graph(work, pixels) if pixels.is_cuda else _operations(work, pixels)


def _operations(work: Work, pixels: Tensor) -> Work:
    work(pixels)  # makes what is kept of the weights
    played: Any = make_fx(work)(pixels.clone())

    def play(given: Tensor) -> Numbers:
        with torch.no_grad():
            return tuple(played(given))

    return play


def _graph(work: Work, pixels: Tensor) -> Work:
    given = pixels.clone()
    aside, here = torch.cuda.Stream(pixels.device), torch.cuda.current_stream(pixels.device)
    aside.wait_stream(here)
    with torch.cuda.stream(aside):
        for _ in range(_WARM_UPS):
            work(given)
    here.wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(pixels.device), torch.cuda.graph(graph):
        found = work(given)

    one, left = threading.Lock(), torch.cuda.Event()

    def play(other: Tensor) -> Numbers:
        with one:  # threads, and their streams, share what a graph reads and writes
            stream = torch.cuda.current_stream(given.device)
            stream.wait_event(left)
            given.copy_(other)
            graph.replay()
            copies = tuple(each.clone() for each in found)
            left.record(stream)
        return copies

    return play
