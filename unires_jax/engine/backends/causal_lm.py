"""Any language model that chats, as vocabulary of parts and for paraphrases.

Its answers are kept by model and prompt: a category is asked about once, not once a
shard, and a second run gives the same vocabulary.
"""

import contextlib
import hashlib
import json
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

from unires_jax import documents, files
from unires_jax.engine.backends import answers
from unires_jax.engine.backends.folders import find, fingerprint
from unires_jax.engine.backends.loading import (
    choose_device,
    choose_dtype,
    load_model,
    told_when_full,
)
from unires_jax.engine.backends.reading import load_processor, plain
from unires_jax.engine.roles import ModelError
from unires_jax.errors import DataError

ANSWER_TOKENS = 160  # ours
_KEPT_BYTES = 1 << 20  # of an answer's file
# Both prompts are ours.
PARTS = (
    'Name the visible parts that a "{}" has, as a JSON list of at most 12 lower-case '
    'singular nouns, for example ["wheel", "door"]. Only parts that can be seen and '
    "outlined in a photograph. [] if it has none. Answer with the list alone."
)
PARAPHRASE = (
    'Say "{}" in other ways, as a JSON list of at most 3 phrases. Use the same words '
    "in another order and add no new ones. [] if there is no other way. Answer with "
    "the list alone."
)


class CausalLM:
    """A `roles.Vocabulary`; greedy, so that an answer depends on its prompt alone."""

    name = "causal_lm"
    licence = "see the model's card"

    def __init__(
        self,
        checkpoint: str,
        device: str = "auto",
        dtype: str = "auto",
        kept: Path | None = None,
    ):
        """`kept`: where answers lie; None: unires_jax/engine in the user's cache.

        Raises ModelError for a model that is not there, not whole, or does not chat.
        """
        folder = find(checkpoint)
        self.fingerprint = fingerprint(folder)
        self.device = choose_device(device)
        self.tokenizer = load_processor(AutoTokenizer, folder)
        if not self.tokenizer.chat_template:
            raise ModelError(
                f"{folder}: has no chat template; name a model that was taught to "
                "answer (its name often ends with Instruct)"
            )
        self.model = load_model(
            AutoModelForCausalLM, folder, self.device, choose_dtype(dtype, self.device)
        )
        home = files.user_cache()
        cache = kept or (home / "unires_jax" / "engine" if home else None)
        self.kept = cache and cache / f"{self.name}-{self.fingerprint}"

    def parts(self, category: str) -> list[str]:
        """Names of parts; [] where the answer is not what was asked for."""
        return answers.names(self._ask(PARTS.format(plain(category))))

    def paraphrase(self, text: str) -> list[str]:
        """The same things in the same relation, said otherwise (`answers`)."""
        prompt = PARAPHRASE.format(plain(text))
        return answers.paraphrases(self._ask(prompt), text)

    def _ask(self, prompt: str) -> str:
        """The answer, kept or new."""
        digest = hashlib.sha256(prompt.encode(errors="replace")).hexdigest()[:16]
        file = self.kept and self.kept / f"{digest}.json"
        if file and (before := _read(file, prompt)) is not None:
            return before
        answer = self._answer(prompt)
        if file:
            kept = json.dumps({"prompt": prompt, "answer": answer})
            with contextlib.suppress(OSError):  # it is asked again
                file.parent.mkdir(parents=True, exist_ok=True)
                files.write_whole(file, kept)
        return answer

    def _answer(self, prompt: str) -> str:
        inputs = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            add_generation_prompt=True,
            enable_thinking=False,  # of templates that know it
            return_dict=True,
            return_tensors="pt",
        ).to(self.device)
        with told_when_full():
            written = self.model.generate(
                **inputs,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                max_new_tokens=ANSWER_TOKENS,
                pad_token_id=self.tokenizer.pad_token_id or self.tokenizer.eos_token_id,
            )
        new = written[0, inputs["input_ids"].shape[1] :]
        text: str = self.tokenizer.decode(new, skip_special_tokens=True)
        return text


def _read(file: Path, prompt: str) -> str | None:
    """A kept answer; None where there is none, or no whole one."""
    if not file.is_file():
        return None
    try:
        kept = documents.read_object(file, _KEPT_BYTES)
    except DataError:
        return None
    answer = kept.get("answer")
    whole = kept.get("prompt") == prompt and isinstance(answer, str)
    return answer if whole else None
