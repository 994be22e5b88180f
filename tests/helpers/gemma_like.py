"""A small tokenizer of SigLIP 2's form: byte-pair pieces of whole sentences.

Spaces become a sign of their own, nothing else splits a sentence, bytes stand for
letters never seen, and the special tokens have the published ids.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
SPACE = "\u2581"


def write_tokenizer(
    folder: Path, captions: Sequence[str], vocab_size: int = 600
) -> Path:
    """Learn pieces from the captions; the path of the tokenizer.json written."""
    tokenizer = Tokenizer(
        models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", SPACE)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    byte_pieces = [f"<0x{i:02X}>" for i in range(256)]
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        show_progress=False,
        special_tokens=[*SPECIAL, *byte_pieces],
    )
    tokenizer.train_from_iterator(captions, trainer)
    content = json.loads(tokenizer.to_str())
    # Bytes are pieces like others, given beforehand only to have their ids.
    content["added_tokens"] = content["added_tokens"][: len(SPECIAL)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return folder / "tokenizer.json"
