"""Whose signals they are: a pass borrows them, and gives them back as they were."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from summand.surroundings import answering_signals
from summand.survey.stopping import asked_to_stop
from tests.commands import command

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def handlers() -> Iterator[list[int]]:
    """A caller's own handlers, which note what came."""
    came: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: came.append(number)) for number in NUMBERS}
    yield came
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_callers_handler_is_called_once_when_all_is_saved(handlers, number):
    mine = [signal.getsignal(each) for each in NUMBERS]
    saved = []
    with asked_to_stop() as event:
        os.kill(os.getpid(), number)
        assert event.is_set()
        assert handlers == []
        saved.append("a shard")
    assert handlers == [number]
    assert saved
    assert [signal.getsignal(each) for each in NUMBERS] == mine


def test_handlers_are_given_back_after_an_error(handlers):
    mine = [signal.getsignal(each) for each in NUMBERS]
    with pytest.raises(ValueError, match="mine"), asked_to_stop():
        raise ValueError("mine")
    assert [signal.getsignal(each) for each in NUMBERS] == mine
    assert handlers == []


def test_a_signal_in_the_last_moment_is_not_lost(handlers):
    """A pass that is over when it is asked to stop: nobody looks at the event any more."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"), asked_to_stop():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_second_signal_stops_at_once(handlers):

    def asked_twice() -> None:
        with asked_to_stop():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("it went on")

    with pytest.raises(KeyboardInterrupt):
        asked_twice()
    assert handlers == [signal.SIGTERM]


def test_other_threads_change_nothing(handlers):
    mine = [signal.getsignal(each) for each in NUMBERS]
    seen: list[object] = []

    def run() -> None:
        with asked_to_stop() as event, answering_signals():
            seen.extend([event.is_set(), [signal.getsignal(each) for each in NUMBERS] == mine])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [False, True]


@pytest.mark.parametrize("arguments", [["--version"], ["survey", "no such place"], ["no such command"]])
def test_the_command_line_keeps_no_handler(arguments):
    """Called from Python, it leaves the signals as they were: those that were nobody's are nobody's again."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in NUMBERS}
    try:
        command(*arguments)
        assert [signal.getsignal(number) for number in NUMBERS] == [signal.SIG_DFL] * 3
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
