"""Where to compute: the policy, on machines that are not at hand."""

import logging
import os

import pytest
import torch

from splatlearn.core import device
from splatlearn.core.device import choose_device, in_float64, reading_workers
from splatlearn.core.errors import InputError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """A machine with these GPUs; what was said on another is forgotten."""

    def has(cuda: int = 0, mps: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    device._say_once.cache_clear()
    yield has
    device._say_once.cache_clear()


def test_auto_is_a_cuda_device_else_the_cpu(machine) -> None:
    machine()
    assert choose_device("auto") == torch.device("cpu")
    machine(cuda=2, mps=True)
    assert choose_device("auto") == torch.device("cuda")


def test_auto_on_a_mac_is_the_cpu_and_says_why_once(machine, caplog: pytest.LogCaptureFixture) -> None:
    machine(mps=True)
    with caplog.at_level(logging.WARNING):
        assert choose_device("auto") == choose_device("auto") == torch.device("cpu")
    (told,) = caplog.messages
    assert "not this Mac's GPU" in told and "--device mps" in told
    caplog.clear()
    assert choose_device("mps") == torch.device("mps") and not caplog.messages


def test_nothing_is_said_where_there_is_nothing_to_say(machine, caplog: pytest.LogCaptureFixture) -> None:
    machine(cuda=1)
    choose_device("auto")
    machine()
    choose_device("auto")
    assert not caplog.messages


@pytest.mark.parametrize(
    ("name", "known"),
    [("cuda", True), ("cuda:3", True), ("mps", True), ("tpu", False), ("meta", False), ("xpu", False), ("cpu:1", False),
     ("mps:1", False), ("", False), ("cuda:x", False)],
)  # fmt: skip
def test_what_cannot_be_used_is_refused(machine, name: str, known: bool) -> None:
    machine()
    message = (
        "is not available on this machine; use --device auto"
        if known
        else "expected auto, cpu, cuda, cuda:N or mps, got"
    )
    with pytest.raises(InputError, match=f"device: .*{message}"):
        choose_device(name)


def test_the_last_of_several_gpus_is_there(machine) -> None:
    machine(cuda=3)
    assert choose_device("cuda:2").index == 2
    with pytest.raises(InputError, match="cuda:3 is not available on this machine"):
        choose_device("cuda:3")


class Elsewhere(torch.Tensor):
    """A tensor that says it lies on Apple's GPU, where nothing becomes float64."""

    device = torch.device("mps")  # type: ignore[assignment]

    def cpu(self) -> torch.Tensor:  # type: ignore[override]
        return self.as_subclass(torch.Tensor)

    def double(self) -> torch.Tensor:
        raise TypeError("MPS has no float64")


def test_float64_on_a_device_that_has_none() -> None:
    values = torch.tensor([0.1, 2.0])
    found = in_float64(values.as_subclass(Elsewhere))
    assert found.dtype == torch.float64 and torch.equal(found, values.double())
    assert in_float64(torch.ones(2, device="meta")).is_meta


@pytest.mark.parametrize(("cores", "beside_a_gpu"), [(1, 1), (6, 6), (64, 16)])
def test_workers_read_for_a_gpu_and_one_for_the_cpu(
    cores: int, beside_a_gpu: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    assert reading_workers(torch.device("cuda", 1)) == beside_a_gpu
    assert reading_workers(torch.device("cpu")) == reading_workers(torch.device("mps")) == 1


def test_workers_where_the_system_does_not_tell_which_cores_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert reading_workers(torch.device("cuda")) == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert reading_workers(torch.device("cuda")) == 1
