"""`unires push`: a trained model as a repository of the Hugging Face Hub.

    unires push me/my-unires --checkpoint runs/finetune
    unires push me/my-unires --checkpoint exported --private

What is pushed is an export of kind safetensors, with its card, so that others say

    model = unires_jax.load("me/my-unires")

The token is the one of `hf auth login`, or HF_TOKEN.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from unires_jax.errors import UsageError, UserError
from unires_jax.export.command import DTYPES, export
from unires_jax.files import local
from unires_jax.inference import exported
from unires_jax.inference.places import HUB_ID

IGNORED = ("__pycache__/*", ".*")  # what running it leaves beside an export


class HubError(UserError):
    """The hub refused, or could not be reached."""


def push(
    checkpoint: str | Path,
    repository: str,
    *,
    dtype: str = "float32",
    private: bool = False,
    message: str = "",
) -> str:
    """Push a model and return the address of the commit.

    An export is pushed as it is; anything else that `unires_jax.load` reads is exported
    first, its weights stored in `dtype`. The repository is made if it is not there, and
    `private` then. Raises UsageError for what is no hub id, CheckpointError for what is
    no model, HubError where the hub refuses.
    """
    match = HUB_ID.fullmatch(repository)
    if match is None or match[2]:
        raise UsageError(f"{repository!r} is no hub id: <owner>/<name>")
    with tempfile.TemporaryDirectory(prefix="unires-") as temporary:
        folder = Path(checkpoint)
        if not (str(checkpoint) and exported.is_export(checkpoint)):
            folder = Path(temporary) / "export"
            export(checkpoint, "safetensors", folder, dtype=dtype)  # type: ignore[arg-type]
        folder = local(folder)
        exported.check_files(folder.resolve(), exported.read_manifest(folder))
        try:
            api = HfApi()
            api.create_repo(repository, private=private or None, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                commit_message=message or "A model of unires_jax",
                ignore_patterns=list(IGNORED),
            )
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise HubError(f"{repository}: {_cause(error)}") from None
    return str(commit.commit_url)


def _cause(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return (
            f"the hub refuses (HTTP {status}); log in with `hf auth login`, or set "
            "HF_TOKEN to a token that may write there"
        )
    text = str(error).strip().partition("\n")[0]
    return f"the hub could not take it ({type(error).__name__}: {text})"


def main(argv: Sequence[str]) -> int:
    """Answer the command line."""
    parser = argparse.ArgumentParser(
        prog="unires push",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("repository", help="<owner>/<name> on the hub")
    parser.add_argument(
        "--checkpoint",
        required=True,
        help="a workdir, the folder of a step, or an export, which is pushed as it is",
    )
    parser.add_argument(
        "--dtype", default="float32", choices=DTYPES, help="of the stored weights"
    )
    parser.add_argument(
        "--private", action="store_true", help="a repository that is made is private"
    )
    parser.add_argument("--message", default="", help="of the commit")
    print(push(**vars(parser.parse_args(argv))))
    return 0
