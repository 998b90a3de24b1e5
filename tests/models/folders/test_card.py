"""Cards are read back as the Hub reads them."""

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import ModelCard

from models.small_models import small_gmae, small_mae
from splatlearn.models import classifier_from, load_classifier, load_model, save_model
from splatlearn.models.folders.card import MARK, CardFacts, CardScore, CardUsage, model_card
from splatlearn.models.folders.hub import push_to_hub

NASTY = "<img src=x onerror=alert(1)> | `x` **y**\n# z"
SCORE = CardScore("birds, class token", "knn", "accuracy", 0.625, {"random weights": 0.5})
FACTS = CardFacts(
    name="birds", data="photos/birds", recipe={"method": "gmae", "optimizer.epochs": 4}, command="splatlearn pretrain",
    steps=1200, loss=0.0312, scores=(SCORE,), versions={"torch": "2.13"}, license="cc-by-4.0",
)  # fmt: skip


def test_what_is_known_is_told() -> None:
    card: Any = ModelCard(model_card(small_gmae(), FACTS))
    assert card.data.license == "cc-by-4.0" and card.data.library_name == "splatlearn"
    assert "gaussian-splatting" in (card.data.tags or [])
    (result,) = card.data.eval_results or []
    assert (result.dataset_name, result.metric_name) == ("birds, class token", "knn accuracy")
    assert result.metric_value == 0.625
    for words in (
        "# birds", "`photos/birds`", "| `optimizer.epochs` | `4` |", "```sh\nsplatlearn pretrain\n```", "1,200 steps",
        "| `birds, class token` | knn | accuracy | 62.5 | 50.0 |", "torch 2.13", "Weights: `cc-by-4.0`",
        "2 blocks of width 24, 3 heads, patches of 4 px", "Gaussians: 12 an image", "arXiv 2501.03229",
    ):  # fmt: skip
        assert words in card.text or words in str(card)


def test_curves_and_decibels() -> None:
    scores = (SCORE, CardScore("birds", "hidden pixels", "PSNR", 16.789, {"mean": 14.1}, unit="dB"))
    text = ModelCard(
        model_card(small_gmae(), CardFacts(recipe={"a": 1}, curve=((600, 0.5), (1200, 0.25)), scores=scores))
    ).text
    assert "| step | 600 | 1,200 |\n| --- | --- | --- |\n| loss | 0.5 | 0.25 |" in text
    assert "| `birds` | hidden pixels | PSNR | 16.79 dB | – | 14.10 dB |" in text
    assert "Percent where no unit is given" in text and "62.5" in text


def test_what_is_not_known_is_said_to_be_so() -> None:
    card: Any = ModelCard(model_card(small_mae()))
    assert card.data.license is None and card.data.eval_results is None
    for words in ("Not recorded.", "Not evaluated.", "No licence was chosen for these weights", "arXiv 2111.06377"):
        assert words in card.text


def test_names_are_no_markup() -> None:
    facts = CardFacts(
        name=NASTY, data=NASTY, recipe={NASTY: NASTY}, command="echo ```x", scores=(CardScore(NASTY, NASTY, "m", 0.5),)
    )
    text = ModelCard(model_card(small_mae(), facts)).text
    code = [line for line in text.splitlines() if "onerror" in line]
    assert len(code) == 4
    for line in code:
        # In words all is escaped; in code spans the fence is longer than any run of backticks inside.
        assert line.startswith("# \\<img") or "`` <img" in line
        assert line.count("|") - line.count("\\|") in (0, 3, 5)
    assert "````sh\necho ```x\n````" in text
    assert "\n# z" not in text


def test_a_saved_model_has_its_card(tmp_path: Path) -> None:
    save_model(small_gmae(), tmp_path)
    first = (tmp_path / "README.md").read_text()
    assert "A masked autoencoder: Gaussian Masked" in first and MARK in first
    save_model(small_mae(), tmp_path)
    assert "arXiv 2111.06377" in (tmp_path / "README.md").read_text()
    (tmp_path / "README.md").write_text("My birds.")
    save_model(small_gmae(), tmp_path, FACTS)
    assert (tmp_path / "README.md").read_text() == "My birds."


def test_a_card_of_a_classifier(tmp_path: Path) -> None:
    classifier = classifier_from(small_mae(), ("a", "b"), generator=torch.Generator().manual_seed(0))
    save_model(classifier, tmp_path)
    card: Any = ModelCard.load(tmp_path / "README.md")
    assert card.data.pipeline_tag == "image-classification" and "A classifier of 2 classes" in card.text
    assert "sl.load_classifier" in card.text and load_classifier(tmp_path).config.classes == ("a", "b")


def test_usage_of_another_library() -> None:
    card: Any = ModelCard(model_card(small_mae(), usage=CardUsage("timm", "import timm", "Mind the mean.")))
    assert card.data.library_name == "timm" and "import timm" in card.text and "Mind the mean." in card.text


class Hub:
    """Keeps what it is given, as the real one would."""

    def __init__(self, folder: Path, error: Exception | None = None) -> None:
        self.folder, self.error = folder, error
        self.repositories: dict[str, bool | None] = {}
        self.messages: list[str] = []

    def create_repo(self, repo_id: str, *, private: bool | None = None, exist_ok: bool = False) -> None:
        if self.error is not None:
            raise self.error
        assert exist_ok
        self.repositories[repo_id] = private

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> None:
        assert repo_id in self.repositories
        self.folder.mkdir()
        for file in Path(folder_path).iterdir():
            (self.folder / file.name).write_bytes(file.read_bytes())
        self.messages.append(commit_message)


def test_a_pushed_model_is_whole(tmp_path: Path) -> None:
    hub, model = Hub(tmp_path / "there"), small_gmae()
    address = push_to_hub(model, "someone/birds", FACTS, private=True, message="First", api=hub)
    assert address == "https://huggingface.co/someone/birds"
    assert hub.repositories == {"someone/birds": True} and hub.messages == ["First"]
    assert sorted(file.name for file in hub.folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert torch.equal(load_model(hub.folder).encoder.cls_token, model.encoder.cls_token)
    assert "1,200 steps" in ModelCard.load(hub.folder / "README.md").text


def test_the_client_is_the_hub_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(tmp_path / "there")
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: hub)
    push_to_hub(small_mae(), "someone/birds")
    assert hub.repositories == {"someone/birds": None}


def test_what_the_hub_refuses(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="repo_id: expected owner/name, got 'birds'"):
        push_to_hub(small_mae(), "birds", api=Hub(tmp_path))
    offline = Hub(tmp_path, RuntimeError("Name or service not known\nmore"))
    with pytest.raises(OSError, match=r"did not take someone/birds \(RuntimeError: Name or service not known\); check"):
        push_to_hub(small_mae(), "someone/birds", api=offline)
