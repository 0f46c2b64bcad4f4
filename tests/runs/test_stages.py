"""What a stage came to before a run was interrupted is not done again; what is not whole is."""

import numpy as np
import pytest

from helpers.runs.stages import Stages


def found(value: float):
    return {"linear": {"top1": value}}, {"labels": np.arange(3, dtype=np.uint8)}


def test_a_stage_is_done_once_and_comes_back_exactly(tmp_path):
    first = Stages(tmp_path)
    first("read", lambda: found(0.1 + 0.2))
    first("blocks", lambda: ({}, {}))
    again = Stages(tmp_path)
    again("read", lambda: pytest.fail("was done a second time"))
    again("blocks", lambda: ({"block": {"top1": 1.0}}, {}))
    assert again.evaluations == {"linear": {"top1": 0.1 + 0.2}, "block": {"top1": 1.0}}, "an empty stage leaves nothing behind"
    assert again.arrays["labels"].dtype == np.uint8 and np.array_equal(again.arrays["labels"], first.arrays["labels"])


def test_a_stage_cut_short_is_done_again(tmp_path):
    Stages(tmp_path)("read", lambda: found(1.0))
    path = tmp_path / "stage-read.npz"
    path.write_bytes(path.read_bytes()[:40])
    again = Stages(tmp_path)
    again("read", lambda: found(2.0))
    assert again.evaluations["linear"]["top1"] == 2.0
