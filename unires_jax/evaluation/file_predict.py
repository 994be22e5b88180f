"""The answers of a predictions file (`predictions`), scored as binary masks."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from unires_jax.config import Config
from unires_jax.data.records import expression_key
from unires_jax.errors import DataError
from unires_jax.evaluation.evaluator import Split, evaluate
from unires_jax.evaluation.predictions import Predictions
from unires_jax.evaluation.protocols import Protocol, Question
from unires_jax.evaluation.results import Prediction, Result
from unires_jax.pixels.masks import RunMask


class FilePredict:
    """The `Predict` of a file for one split; a missing expression is empty."""

    def __init__(self, file: Predictions, split: Split):
        """Raises DataError for a line whose key the split does not have or whose mask
        has another size than its picture, and if no line is of the split.
        """
        prefix = f"{split.dataset}/{split.split}/"
        self._names = split.dataset, split.split
        self.lines = {k: x for k, x in file.lines.items() if k.startswith(prefix)}
        if not self.lines:
            first = next(iter(file.lines))
            raise DataError(
                f"no key begins with {prefix!r}; the first is {first!r}. Name the "
                "splits that it answers with --splits",
                place=str(file.path),
            )
        self._check(file.path, dict(_sizes(split)))

    def _check(self, path: Path, sizes: dict[str, tuple[int, int]]) -> None:
        for key, line in self.lines.items():
            where = f"{path} line {line.number}"
            if key not in sizes:
                foreign = len(self.lines.keys() - sizes.keys())
                raise DataError(
                    f"key {key!r} is no expression of {':'.join(self._names)} "
                    f"({foreign} such lines); it belongs to another version of the "
                    "data",
                    place=where,
                )
            height, width = line.mask.height, line.mask.width
            if (height, width) != sizes[key]:
                raise DataError(
                    f"the mask is {height} x {width}, its picture {sizes[key][0]} x "
                    f"{sizes[key][1]} (height x width); resize it to the picture's "
                    "size",
                    place=f"{where}: key {key!r}",
                )

    def __call__(self, questions: Sequence[Question]) -> list[list[Prediction]]:
        """The file's answers."""
        return [self._answers(question) for question in questions]

    def _answers(self, question: Question) -> list[Prediction]:
        record = question.record
        missing = Prediction(RunMask.empty(record.height, record.width), 0.0, None)
        keys = [expression_key(*self._names, record, x) for x in question.expressions]
        lines = [self.lines.get(key) for key in keys]
        return [
            Prediction(x.mask, x.score, x.no_target) if x else missing for x in lines
        ]


def _sizes(split: Split) -> Iterator[tuple[str, tuple[int, int]]]:
    """Every expression's key and its picture's size."""
    for i in range(len(split)):
        record = split[i]
        for x in record.expressions:
            key = expression_key(split.dataset, split.split, record, x)
            yield key, (record.height, record.width)


def score_file(
    file: Predictions,
    splits: Mapping[str, Split],
    config: Config,
    protocol: Protocol,
    images: int | None = None,
) -> dict[str, list[Result]]:
    """A file's answers to several splits, scored as binary masks.

    Prints how many expressions are missing (they count as empty) and how many lines
    belong to other splits. Raises DataError as `FilePredict` does.
    """
    rows, answered = {}, 0
    for name, split in splits.items():
        predict = FilePredict(file, split)
        answered += len(predict.lines)
        rows[name] = evaluate(
            split, predict, config, protocol=protocol, images=images, ceiling=False
        )
        missing = sum(r.key not in predict.lines for r in rows[name])
        if missing:
            print(
                f"{file.path}: {missing} of {len(rows[name])} expressions of {name} "
                "are missing; they count as empty masks"
            )
    if answered < len(file.lines):
        print(
            f"{file.path}: {len(file.lines) - answered} lines are of splits that are "
            "not scored now"
        )
    return rows
