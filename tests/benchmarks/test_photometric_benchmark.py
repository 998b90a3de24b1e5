"""The benchmark of fits' loss and optimiser runs, and its contenders agree; its times are not looked at."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import photometric
from compiled_code import away
from splatlearn.fitting import photometric_loss


def test_every_contender_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(photometric, "SIZES", {"tiny": (12, 20)})
    file = tmp_path / "results.json"
    photometric.main(threads=torch.get_num_threads(), rounds=1, counts=(7,), json_file=file)
    results = json.loads(file.read_text())
    printed = capsys.readouterr().out
    for part, key, least in (("loss_milliseconds", "tiny", 2), ("adam_milliseconds", "7", 2)):
        contenders = results[part][key]
        assert len(contenders) >= least and all(name in printed for name in contenders)
        assert all(min(row.values()) >= 0 for row in contenders.values())


def test_the_published_loss_is_ours(generator: torch.Generator) -> None:
    images, targets = (torch.rand(1, 3, 15, 18, generator=generator) for _ in range(2))
    images.requires_grad_()
    found, wanted = photometric.windows_of_121_taps(images, targets), photometric_loss(images, targets)
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad(each, images)[0] for each in (found, wanted)]
    assert away(*gradients) <= 1e-5
