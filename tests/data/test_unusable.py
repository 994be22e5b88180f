"""Unusable records of several processes count together, each record once."""

import json
import threading
from pathlib import Path

import pytest
from helpers.programs import at_once
from helpers.tiny import tiny_config

from unires_jax.data.unusable import UnusableRecords
from unires_jax.errors import DataError


class Processes:
    """So many processes that hold their lists, with 10 % allowed of 30 records."""

    def __init__(self, workdir: Path, count: int) -> None:
        config = tiny_config(data__max_bad_share=0.1)
        self.lists = [
            UnusableRecords(config, 30, workdir, (p, count)) for p in range(count)
        ]
        self._messages = [b""] * count
        self._barrier = threading.Barrier(count, timeout=20)

    def agree(self) -> list[str]:
        """All of them at once; what each raised, "" for nothing."""
        raised = [""] * len(self.lists)

        def one(process: int) -> None:
            def gather(message: bytes) -> list[bytes]:
                self._messages[process] = message
                self._barrier.wait()
                messages = list(self._messages)
                self._barrier.wait()
                return messages

            try:
                self.lists[process].agree(gather)
            except DataError as error:
                raised[process] = str(error)

        at_once(one, len(self.lists))
        return raised


def test_a_record_that_several_meet_counts_once(tmp_path: Path) -> None:
    processes = Processes(tmp_path, 3)
    for unusable in processes.lists:
        for name in ("a", "b", "c"):  # 3 of 30 are allowed
            unusable.add(name, "broken")
    assert processes.agree() == [""] * 3
    assert processes.agree() == [""] * 3


def test_all_stop_alike_and_say_who_met_how_many(tmp_path: Path) -> None:
    processes = Processes(tmp_path, 2)
    first, second = processes.lists
    first.add("a", "broken")
    assert processes.agree() == ["", ""]
    for name in ("a", "b", "c", "d"):  # beyond the limit, but not alone
        second.add(name, "broken")
    raised = processes.agree()
    assert raised[0] == raised[1]
    assert "4 of 30 records" in raised[0] and "max_bad_share=0.1" in raised[0]
    assert "1 by process 0, 3 by process 1" in raised[0]
    assert str(tmp_path / "rejected*.jsonl") in raised[0]


def test_another_process_count_goes_on_with_all_lists(tmp_path: Path) -> None:
    four = Processes(tmp_path, 4)
    for i, unusable in enumerate(four.lists[1:]):
        unusable.add(f"record {i}", "broken")
    assert four.agree() == [""] * 4
    with (tmp_path / "rejected-2.jsonl").open("a") as file:
        file.write('{"record": "cut by a k')
    alone = Processes(tmp_path, 1)
    with pytest.raises(DataError, match=r"4 of 30 .* The last: record 9: broken"):
        alone.lists[0].add("record 9", "broken")
    written = (tmp_path / "rejected.jsonl").read_text().splitlines()
    assert [json.loads(line)["record"] for line in written] == ["record 9"]
    two = Processes(tmp_path, 2)
    assert all("4 of 30" in text for text in two.agree())


def test_without_a_workdir_lists_are_exchanged_all_the_same() -> None:
    config = tiny_config(data__max_bad_share=0.0)
    unusable = UnusableRecords(config, 5, None, (0, 2))
    unusable.add("a", "broken")
    with pytest.raises(DataError, match="2 of 5"):
        unusable.agree(lambda message: [message, b'[["b", "broken"]]'])
