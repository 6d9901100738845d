"""Compiled models run module by module where it is asked for, in every thread, and compiled again behind it."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import nn

from summand.towers.eager import can_run_eagerly, eagerly, is_compiled

pytestmark = pytest.mark.skipif(not can_run_eagerly(), reason="this torch has no set_stance")


def counted():
    """A function compiled by a backend that counts how often compiled code runs."""
    runs = []

    def backend(graph, _):
        def run(*args):
            runs.append(1)
            return graph.forward(*args)

        return run

    return torch.compile(lambda x: x.sin() + 1, backend=backend), runs


def test_compiled_code_is_left_out_inside_and_used_outside():
    function, runs = counted()
    x = torch.randn(3)
    function(x)
    before = len(runs)
    with eagerly():
        with eagerly():
            inner = function(x)
        function(x)
        assert len(runs) == before
    assert torch.equal(function(x), inner)
    assert len(runs) > before


def test_it_is_left_by_an_exception():
    function, runs = counted()
    with pytest.raises(KeyError), eagerly():
        raise KeyError
    function(torch.randn(3))
    assert runs


def test_the_last_of_several_threads_restores_it():
    function, runs = counted()
    x = torch.randn(3)
    function(x)
    entered, leave = threading.Barrier(3), threading.Event()

    def first():
        with eagerly():
            entered.wait()

    def second():
        with eagerly():
            entered.wait()
            leave.wait()

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    entered.wait()
    threads[0].join()
    before = len(runs)
    function(x)
    assert len(runs) == before
    leave.set()
    threads[1].join()
    function(x)
    assert len(runs) > before


def test_what_is_compiled_is_told_apart():
    plain, in_place = nn.Linear(2, 2), nn.Linear(2, 2)
    in_place.compile(backend="eager")
    assert [is_compiled(m) for m in (plain, torch.compile(plain, backend="eager"), in_place)] == [False, True, True]
