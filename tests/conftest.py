"""Fixtures that every test may use."""

import os
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from typing import Any

# Threads that wait for others sleep: spinning, they would take a processor from other tests. OpenMP reads this once.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import jaxtyping
import matplotlib
import pytest
import torch
from hypothesis import HealthCheck, settings

import shape_checks

matplotlib.use("Agg")
shape_checks.install("splatlearn")
# Machines differ in speed; nothing in the tests is timed.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
if "OMP_NUM_THREADS" in os.environ:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
if "SPLATLEARN_TESTS_BF16" in os.environ:
    # What `--precision auto` means on another processor than this one.
    fast = os.environ["SPLATLEARN_TESTS_BF16"] == "1"
    torch.cpu._is_avx512_bf16_supported = torch.cpu._is_amx_tile_supported = lambda: fast


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets PyTorch's number of threads; the end of the test restores it."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def no_shape_checks() -> Iterator[None]:
    """Switch the run-time shape checks off, so that the library's own messages are what a wrong argument meets."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def twice() -> Iterator[type]:
    """A camera model that is registered for a test: orthographic, with centres twice as far from the axis."""
    from splatlearn.core.cameras import Lens, models

    class Twice(models.Orthographic):
        name = "twice"

        def project(self, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor, lens: Lens) -> models.Pixels:
            return super().project(2 * x, 2 * y, z, lens)

        def unproject(self, u: torch.Tensor, v: torch.Tensor, depth: torch.Tensor, lens: Lens) -> models.Points:
            x, y, z = super().unproject(u, v, depth, lens)
            return x / 2, y / 2, z

    models.register_camera_model(Twice)
    yield Twice
    del models._models["twice"]


BUDGETS = {
    ("images", "data", "files"): 60,
    ("rendering",): 110,
    ("core", "models"): 40,
    ("training", "runs"): 105,
    ("fitting", "reconstruction"): 110,
    ("captures",): 45,
    ("compression", "evaluation", "objectives", "surfaces"): 35,
    ("cli", "report", "viewer"): 80,
}
"""Folders of tests and the seconds that theirs may take together on two workers; all others have REST."""
REST = 15
"""With it, the budgets are ten minutes."""
SPENT = pytest.StashKey[dict[tuple[str, ...], list[float]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[SPENT] = defaultdict(lambda: [0.0, 0.0])
    config.pluginmanager.register(_Seconds(config.stash[SPENT]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give all tests of a file to one worker, so that its browser, its runs and its models are made once."""
    from xdist.scheduler import LoadFileScheduling

    # By name: in the order of their numbers of tests, files of one long test would come last, to one worker.
    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


class _Seconds:
    """Adds up how long the tests of each folder take, fixtures included; nothing is judged by it."""

    def __init__(self, spent: dict[tuple[str, ...], list[float]]) -> None:
        self.spent, self.until = spent, 0.0

    def pytest_runtest_logstart(self) -> None:
        self.until = _processor_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """In the process of the test: what its phase took of the processor."""
        report = yield
        before, self.until = self.until, _processor_seconds()
        report.processor_seconds = self.until - before  # pyright: ignore[reportAttributeAccessIssue]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        folder = report.nodeid.removeprefix("tests/").split("/")[0]
        seconds = self.spent[next((rooms for rooms in BUDGETS if folder in rooms), ())]
        seconds[0] += report.duration
        seconds[1] += getattr(report, "processor_seconds", 0.0)


def _processor_seconds() -> float:
    """Of this process and of those that it started and waited for."""
    return sum(os.times()[:4])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the seconds of each budget, as if two workers had shared them evenly, and those of the processor."""
    spent = config.stash[SPENT]
    if sum(seconds for seconds, _ in spent.values()) > 60:
        for rooms, (seconds, of_processor) in sorted(spent.items()):
            names = ", ".join(rooms) or "all others"
            taken = f"{seconds / 2:.0f} s of {BUDGETS.get(rooms, REST)} s on two workers"
            terminalreporter.write_line(f"{names}: {taken} ({of_processor / 2:.0f} s of processor time)")
        total = sum(seconds for seconds, _ in spent.values()) / 2
        terminalreporter.write_line(f"in all: {total:.0f} s of {sum(BUDGETS.values()) + REST} s on two workers")
