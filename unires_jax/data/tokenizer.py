"""Text to tokens, through a `tokenizer.json` of Hugging Face `tokenizers`."""

import collections
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from jaxtyping import Int32
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from unires_jax import documents, limits
from unires_jax.config import BACKBONES, TextRules
from unires_jax.errors import DataError, shorten
from unires_jax.files import Location, locate, read_text, write_whole

FILE = "tokenizer.json"  # what it is called beside data and weights
CLIP = BACKBONES["clip"].text  # the conventions of `train_bpe`
# CLIP's word pattern: the special tokens, English contractions, words, single digits
# and runs of other signs.
_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d"
    r"|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)

# Where no token crosses the end of a word, CLIP's way, words of a-z are split at spaces
# and encoded each for itself, so that their ids can be kept: a tenth of the time.
_PLAIN = re.compile(r"[a-z ]*").fullmatch
MAX_WORDS = 100_000
_SPACE = "\u2581"  # SentencePiece writes a space so

log = logging.getLogger(__name__)


class Tokenizer:
    """A backbone's text interface: lower-cased, [SOS,] words, EOS, then pads.

    `sos`, `eos` and `pad_id` are token ids (`sos` may be None), `around` is the number
    of tokens that stand around the words. `truncated` counts the sentences cut.
    """

    def __init__(self, text: str, rules: TextRules) -> None:
        """Build from the JSON text of a tokenizer.json.

        Raises DataError if it is none, or one of another backbone than `rules`.
        """
        try:
            self._inner = tokenizers.Tokenizer.from_str(text)
        except BaseException as error:  # Exception, or a panic that is none
            _require_fault(error)
            raise DataError(
                f"tokenizer: not a readable {FILE}: {error}; expected the file written "
                f"by Hugging Face tokenizers (a CLIP folder's {FILE})"
            ) from None
        _check_growth(self._inner)
        self._inner.no_truncation()
        self._inner.no_padding()
        self.rules = rules
        self.sos = self._special(rules.sos) if rules.sos else None
        self.eos, self.pad_id = self._special(rules.eos), self._special(rules.pad)
        self.around = 1 if self.sos is None else 2
        self.truncated = 0
        self._words: dict[str, list[int]] = {}

    def _special(self, token: str) -> int:
        number = self._inner.token_to_id(token)
        if number is None:
            raise DataError(
                f"tokenizer: has no token {token!r}; expected the {FILE} of the "
                "model's backbone"
            )
        return int(number)

    @property
    def vocab_size(self) -> int:
        """Rows an embedding table needs."""
        return int(self._inner.get_vocab_size(with_added_tokens=True))

    def ids(self, sentences: Sequence[str]) -> list[list[int]]:
        """Token ids of each sentence, without SOS and EOS, uncut.

        Raises DataError for a sentence without any token, or of more than
        limits.SENTENCE characters.
        """
        for sentence in sentences:
            if len(sentence) > limits.SENTENCE:
                raise DataError(
                    f"expression {shorten(sentence, 40)!r} has {len(sentence)} "
                    f"characters, at most {limits.SENTENCE}"
                )
        cleaned = [s.strip() for s in sentences]
        if self.rules.lower_case:
            cleaned = [s.lower() for s in cleaned]
        by_word = bool(self.rules.word_end)
        ids = [
            self._by_word(s) if by_word and _PLAIN(s) else self._whole(s)
            for s in cleaned
        ]
        for sentence, tokens in zip(sentences, ids, strict=True):
            if not tokens:
                raise DataError(
                    f"expression {sentence!r} is empty; expected at least one word"
                )
        return ids

    def _whole(self, text: str) -> list[int]:
        try:
            return list(self._inner.encode(text, add_special_tokens=False).ids)
        except BaseException as error:  # of a hostile tokenizer: a panic, of any kind
            _require_fault(error)
            raise DataError(
                f"tokenizer: cannot split {shorten(text, 40)!r} ({error}); take the "
                f"{FILE} of the model's backbone"
            ) from None

    def _by_word(self, text: str) -> list[int]:
        ids: list[int] = []
        for word in text.split():
            word_ids = self._words.get(word)
            if word_ids is None:
                if len(self._words) > MAX_WORDS:
                    self._words.clear()  # by any thread, at any time
                word_ids = self._words[word] = self._whole(word)
            ids += word_ids
        return ids

    def encode(
        self, sentences: Sequence[str], context: int, lengths: tuple[int, ...]
    ) -> tuple[Int32[np.ndarray, "e l"], Int32[np.ndarray, "e"]]:
        """Tokens padded to the smallest of `lengths` that fits the longest sentence.

        A sentence of more than `min(context, lengths[-1])` tokens is cut, keeping EOS,
        counted in `truncated`, and told once. The second array holds the lengths, SOS
        and EOS included. Raises DataError for an empty sentence.
        """
        return self.pad(self.ids(sentences), context, lengths)

    def note(self, ids: Sequence[int], context: int, lengths: tuple[int, ...]) -> str:
        """What a user should know of a sentence that `encode` cuts; "" of others."""
        most = min(context, lengths[-1]) - self.around
        if len(ids) <= most:
            return ""
        return (
            f"the sentence has {len(ids)} tokens and the model reads {most}: what "
            f"follows {self.decode(ids[:most])[-40:]!r} was not read"
        )

    def pad(
        self, ids: Sequence[Sequence[int]], context: int, lengths: tuple[int, ...]
    ) -> tuple[Int32[np.ndarray, "e l"], Int32[np.ndarray, "e"]]:
        """`encode` for sentences that `ids` has split."""
        limit, around = min(context, lengths[-1]), self.around
        counts = np.array([min(len(x) + around, limit) for x in ids], np.int32)
        self._note_cut(sum(len(x) + around > limit for x in ids), limit)
        longest = int(counts.max(initial=around))
        length = next((n for n in lengths if n >= longest), limit)
        tokens = np.full((len(ids), min(length, context)), self.pad_id, np.int32)
        if self.sos is not None:
            tokens[:, 0] = self.sos
        for row, sentence, count in zip(tokens, ids, counts, strict=True):
            row[around - 1 : count - 1] = sentence[: count - around]
            row[count - 1] = self.eos
        return tokens, counts

    def _note_cut(self, cut: int, limit: int) -> None:
        if cut and not self.truncated:
            log.warning(
                "An expression is longer than %d tokens; such ones are cut (counted, "
                "not told again).",
                limit,
            )
        self.truncated += cut

    def decode(self, tokens: Sequence[int] | Int32[np.ndarray, "l"]) -> str:
        """The text of token ids, for people to read."""
        text = str(self._inner.decode([int(t) for t in tokens]))
        if self.rules.word_end:
            text = text.replace(self.rules.word_end, " ")
        return text.strip()

    def texts(self, tokens: Sequence[int] | Int32[np.ndarray, "l"]) -> list[str]:
        """Each token as one reads it; SOS and EOS are "start" and "end"."""
        names = {self.sos: "start", self.eos: "end"}
        return [names.get(int(t)) or self._text(int(t)) for t in tokens]

    def _text(self, token: int) -> str:
        piece = str(self._inner.id_to_token(token))
        return piece.removesuffix(self.rules.word_end).replace(_SPACE, " ").strip()

    def to_json(self) -> str:
        """The tokenizer as the text of its tokenizer.json."""
        return str(self._inner.to_str())

    def __getstate__(self) -> tuple[str, TextRules]:
        return self.to_json(), self.rules

    def __setstate__(self, state: tuple[str, TextRules]) -> None:
        self.__init__(*state)  # type: ignore[misc]


def load_tokenizer(
    path_or_hub_id: str | os.PathLike[str], rules: TextRules
) -> Tokenizer:
    """Load a tokenizer.json, the one in a folder, or the one of a hub model id.

    Raises DataError naming what was looked for.
    """
    path = locate(path_or_hub_id)
    file = path / FILE if path.is_dir() else path
    if file.is_file():
        return Tokenizer(_text(file), rules)
    if path.is_dir() or path.suffix == ".json" or len(path.parts) != 2:
        raise DataError(
            f"tokenizer {str(path_or_hub_id)!r}: {file} does not exist; expected a "
            f"{FILE}, a folder that holds one, or a hub id such as "
            "openai/clip-vit-base-patch16"
        )
    return Tokenizer(_download(str(path_or_hub_id)), rules)


def _download(hub_id: str) -> str:
    import huggingface_hub

    try:
        file = huggingface_hub.hf_hub_download(hub_id, FILE)
    except Exception as error:  # any of the hub's or the connection's
        raise DataError(
            f"tokenizer {hub_id!r}: no such file or folder here, and the hub did not "
            f"give its {FILE} ({type(error).__name__}); check the name, or download "
            "the file and give its path"
        ) from error
    return _text(Path(file))


def _text(file: Location) -> str:
    try:
        return read_text(file, limits.TOKENIZER_BYTES)
    except DataError as error:
        raise error.at(str(file)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read ({error})", place=str(file)) from None


def _require_fault(error: BaseException) -> None:
    """Raise what ends a program on purpose: tokenizers' panics are no Exception."""
    if isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit)):
        raise error


def _check_growth(inner: tokenizers.Tokenizer) -> None:
    """Raise DataError for a tokenizer that multiplies a text before it is split.

    Replacements of a sign by many, one after the other, would take all memory. Those of
    CLIP and Gemma put one sign for one.
    """
    growth = 1
    steps = [s for s in (inner.normalizer, inner.pre_tokenizer) if s is not None]
    fields = {"Replace": "content", "Prepend": "prepend"}
    for value in documents.objects([json.loads(s.__getstate__()) for s in steps]):
        added = value.get(fields.get(str(value.get("type")), ""))
        growth *= max(1, len(added)) if isinstance(added, str) else 1
    if growth > limits.GROWTH:
        raise DataError(
            f"tokenizer: its normalizer makes a text {growth:.3g} times as long, at "
            f"most {limits.GROWTH}; take the {FILE} of the model's backbone"
        )


def train_bpe(
    captions: Iterable[str], path: str | Path, vocab_size: int = 1024
) -> Tokenizer:
    """Learn a byte-pair vocabulary with CLIP's conventions and write it to `path`.

    Ids: 256 bytes, 256 bytes that end a word, the merges, SOS, EOS (the last, as in
    CLIP). Every text can be encoded. `vocab_size` is an upper bound. Raises DataError
    if it leaves no room or there is no caption.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    base = alphabet + [c + CLIP.word_end for c in alphabet]
    room = vocab_size - len(base) - 2
    if room < 0:
        raise DataError(f"vocab_size={vocab_size} must be at least {len(base) + 2}")
    merges = _learn_merges(captions, base, vocab_size)[:room]
    # Two pairs can merge into one token: an id belongs to a token, not to a merge.
    tokens = list(
        dict.fromkeys([*base, *(a + b for a, b in merges), CLIP.sos, CLIP.eos])
    )
    vocab = {token: i for i, token in enumerate(tokens)}
    built = _clip_pipeline(
        models.BPE(
            vocab=vocab,
            merges=merges,
            unk_token=CLIP.eos,
            end_of_word_suffix=CLIP.word_end,
            continuing_subword_prefix="",
        )
    )
    built.add_special_tokens([CLIP.sos, CLIP.eos])
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, built.to_str(pretty=True))
    return Tokenizer(built.to_str(), CLIP)


def _clip_pipeline(model: models.BPE) -> tokenizers.Tokenizer:
    built = tokenizers.Tokenizer(model)
    built.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Replace(tokenizers.Regex(r"\s+"), " "),
            normalizers.Lowercase(),
        ]
    )
    built.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_WORDS), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    built.decoder = decoders.ByteLevel()
    return built


def _learn_merges(
    captions: Iterable[str], base: list[str], vocab_size: int
) -> list[tuple[str, str]]:
    counts = collections.Counter(c.strip().lower() for c in captions)
    if not any(counts):
        raise DataError("train_bpe: no captions; expected at least one sentence")

    def sentences() -> Iterator[str]:
        for caption in sorted(counts):
            yield from [caption] * counts[caption]

    learner = _clip_pipeline(
        models.BPE(end_of_word_suffix=CLIP.word_end, continuing_subword_prefix="")
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        show_progress=False,
        # Given ids beforehand: else they follow the order of a hash map, and so does
        # the choice among pairs that are equally frequent.
        special_tokens=base,
        end_of_word_suffix=CLIP.word_end,
        continuing_subword_prefix="",
    )
    learner.train_from_iterator(sentences(), trainer)
    model: dict[str, Any] = json.loads(learner.to_str())["model"]
    return [(a, b) for a, b in model["merges"]]
