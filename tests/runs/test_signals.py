"""Requests to stop: by signals, told once, with the handlers of before put back."""

import os
import signal
import threading

import pytest

from runs.toy_job import ALONE
from splatlearn.runs.signals import ASKED_BY_SCHEDULER, SharedStop, StopRequest

NUMBERS = (signal.SIGINT, *ASKED_BY_SCHEDULER)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_heard_and_told_once(number: signal.Signals) -> None:
    before, told = [signal.getsignal(each) for each in NUMBERS], []
    with StopRequest(told.append) as request:
        shared = SharedStop(request, ALONE)
        assert (request.signal, shared.heard()) == (0, 0)
        os.kill(os.getpid(), number)
        assert (request.signal, shared.heard()) == (number, number)
        if number != signal.SIGINT:
            os.kill(os.getpid(), number)
        shared.close()
    assert told == [number]
    assert [signal.getsignal(each) for each in NUMBERS] == before


def test_a_second_ctrl_c_interrupts_at_once() -> None:
    with StopRequest() as request:
        signal.raise_signal(signal.SIGINT)
        assert request.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_after_a_scheduler_s_signal_is_a_request_too() -> None:
    with StopRequest() as request:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert request.signal == signal.SIGINT


def test_an_error_inside_puts_the_handlers_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError), StopRequest():
        assert signal.getsignal(signal.SIGTERM) != before
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) == before


def test_outside_the_main_thread_no_signal_arrives() -> None:
    before, found = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with StopRequest() as request:
            found.append((request.signal, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(0, before)]
