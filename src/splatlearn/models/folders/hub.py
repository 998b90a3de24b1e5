"""Models onto the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from typing import Protocol, runtime_checkable

import huggingface_hub

from splatlearn.core.errors import InputError, first_line
from splatlearn.core.kinds import check_kind
from splatlearn.models.classifier import Classifier
from splatlearn.models.folders.card import CardFacts
from splatlearn.models.folders.io import is_hub_id, save_model
from splatlearn.models.gmae import GMAE
from splatlearn.models.mae import MAE


@runtime_checkable
class Hub(Protocol):
    """The methods of `huggingface_hub.HfApi` that a push calls."""

    def create_repo(self, repo_id: str, *, private: bool | None = None, exist_ok: bool = False) -> object:
        """Make a repository, or accept the one that is there."""
        ...

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> object:
        """Put the files of a folder into a repository, as one commit."""
        ...


def push_to_hub(
    model: MAE | GMAE | Classifier,
    repo_id: str,
    facts: CardFacts | None = None,
    private: bool | None = None,
    message: str = "Upload a splatlearn model",
    api: Hub | None = None,
) -> str:
    """Upload a model and its card to a repository of the Hub, which is created if it is missing.

    `splatlearn.load_model` reads it back.

    - `repo_id`: `owner/name`.
    - `facts`: what the card says beside the model's sizes.
    - `private`: whether a new repository is; None leaves it to the owner's settings.
    - `api`: the client, by default one with the token that `hf auth login` stored.

    Returns the repository's address. Raises InputError for another kind of name, and OSError where the Hub refuses or
    cannot be reached; nothing on this machine is changed.
    """
    check_kind("repo_id", repo_id, str)
    if not is_hub_id(repo_id):
        raise InputError(f"repo_id: expected owner/name, got {repo_id!r}")
    hub = api if api is not None else huggingface_hub.HfApi()
    with tempfile.TemporaryDirectory() as folder:
        save_model(model, folder, facts)
        try:
            hub.create_repo(repo_id, private=private, exist_ok=True)
            hub.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message)
        except Exception as error:  # what being offline raises depends on the client's HTTP library
            reason = first_line(error)
            raise OSError(
                f"repo_id: the Hub did not take {repo_id} ({type(error).__name__}: {reason}); check the network, the "
                "name, and that `hf auth login` stored a token that may write"
            ) from error
    return f"https://huggingface.co/{repo_id}"
