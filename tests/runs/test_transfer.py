"""Transfer: the encoder that any run left, read out on other images than it was trained on."""

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from helpers.commands import transfer as command
from helpers.core.errors import Diverged, TrainingStopped, UserError
from helpers.models import build_encoder, export
from helpers.runs import records, untrained
from helpers.runs import transfer as transferring
from helpers.runs.config import Data, RunConfig
from helpers.runs.run import encoder_file, run
from helpers.runs.transfer import Transfer, find, transfer
from helpers.training import Stopped
from tests.small_run import SMALL, small

OWN = Data(**SMALL["data"])
ELSEWHERE = Data(dataset="embedded", train_images=128, test_images=64, options={"classes": 4, "seed": 5, "train": 200, "test": 80})
SCALED = {"recipe": "contest", "options": {"mean": [0.5, 0.4, 0.3], "std": [0.3, 0.3, 0.3]}}  # unlike what views have by default


def asked(**changes) -> RunConfig:
    shared = {"training": {"epochs": 1}, "evaluation": {"maps": None, "cka": False, "probe_every": 0}}
    return RunConfig(**(small(**shared).model_dump() | {"views": SCALED} | changes))


@pytest.fixture
def trained(house):
    return run(asked(), "cpu")


def same(found, record) -> bool:
    """Whether every readout, number and prediction, is that of the other record."""
    names = {name for name in record.evaluations if name.startswith(("linear", "knn"))}
    arrays = {name for name in record.arrays if name == "labels" or name.startswith(("linear", "knn"))}
    assert "linear" in names and {"linear.predictions", "knn10.predictions"} <= arrays
    return set(found.evaluations) == names and all(
        [found.evaluations[name] == record.evaluations[name] for name in names]
        + [np.array_equal(found.arrays[name], record.arrays[name]) for name in arrays]
    )


def test_on_its_own_images_an_encoder_reads_as_its_run_did(trained):
    found = transfer(Transfer(run=trained.id, data=OWN), "cpu")
    assert same(found, trained) and found.id.startswith("embedded-transfer-")
    about = found.manifest
    assert (about["kind"], about["run"], about["method"], about["encoder"]) == ("transfer", trained.id, "simclr", "resnet_tiny")
    assert found.manifest["dataset"] == trained.manifest["dataset"] and found.config["data"]["image_size"] == 32
    assert transferring.named(found.config) == found.id and found.check() and not found.diverged


def test_before_its_first_step_it_reads_as_the_reference_and_needs_no_file(trained):
    other = run(asked(training=asked().training.model_dump() | {"rate": 2e-3}), "cpu")
    encoder_file(trained.id).unlink()
    found = transfer(Transfer(run=trained.id, data=OWN, trained=False), "cpu")
    assert same(found, untrained.make(asked(), "cpu")) and not same(found, trained)
    assert find(Transfer(run=other.id, data=OWN, trained=False)).id == found.id, "runs that begin alike share it"
    assert "run" not in found.manifest and transferring.named(found.config) == found.id


def test_elsewhere_frozen_and_fine_tuned_once(trained, monkeypatch):
    seen = []
    tune = transferring.finetune
    monkeypatch.setattr(transferring, "finetune", lambda encoder, views, *a, **k: seen.append((views, k)) or tune(encoder, views, *a, **k))
    wanted = Transfer(run=trained.id, data=ELSEWHERE, finetune_epochs=2)
    assert find(wanted) is None
    found = transfer(wanted, "cpu")
    predictions = found.arrays["finetune.predictions"]
    assert found.evaluations["finetune"]["top1"] == pytest.approx(100 * (predictions == found.arrays["labels"]).mean(), abs=1e-4)
    assert (
        found.arrays["labels"].max() == 3
        and len(predictions) == 64
        and found.evaluations["knn200"] == {"skipped": "k = 200 is more than the 128 training images"}
    )
    (views, how), *_ = seen
    assert list(views.settings.mean) == SCALED["options"]["mean"] and list(views.settings.std) == SCALED["options"]["std"]
    assert (how["recipe"], how["epochs"], how["rate"], how["seed"], len(how["indices"])) == ("from_probe", 2, 1e-3, 0, 128)

    def never(*given, **more):
        raise AssertionError("it was read before")

    for name in ("evaluate", "finetune", "_encoder_of"):
        monkeypatch.setattr(transferring, name, never)
    sized = Transfer(run=trained.id, data=ELSEWHERE.model_copy(update={"image_size": 32}), finetune_epochs=2)
    assert transfer(wanted, "cpu").path == transfer(sized, "cpu").path == find(wanted).path == found.path
    assert find(Transfer(run=trained.id, data=ELSEWHERE)) is None, "frozen alone is another record"
    frozen = Transfer(run=trained.id, data=ELSEWHERE, finetune_rate=0.5)
    assert transferring._values(frozen, trained) == transferring._values(Transfer(run=trained.id, data=ELSEWHERE), trained)


def test_fine_tuning_that_diverges_costs_itself_alone(trained, monkeypatch):
    def diverges(*given, **more):
        raise TrainingStopped("Fine-tuning diverged.")

    monkeypatch.setattr(transferring, "finetune", diverges)
    found = transfer(Transfer(run=trained.id, data=ELSEWHERE, finetune_epochs=1), "cpu")
    assert found.evaluations["finetune"] == {"skipped": "Fine-tuning diverged."} and found.evaluations["linear"]["top1"] > 0


def test_one_that_is_asked_to_stop_leaves_no_record(trained):
    wanted = Transfer(run=trained.id, data=ELSEWHERE, finetune_epochs=1)
    with pytest.raises(Stopped, match="the night is over; run again"):
        transfer(wanted, "cpu", lambda: "the night is over")
    assert find(wanted) is None


def test_methods_that_build_nets_of_their_own_are_read_as_well(house):
    halves = run(asked(method={"name": "split_brain"}, views=SCALED | {"recipe": "split_brain"}), "cpu")
    assert same(transfer(Transfer(run=halves.id, data=OWN), "cpu"), halves)
    before = transfer(Transfer(run=halves.id, data=OWN, trained=False), "cpu")
    assert same(before, untrained.make(RunConfig(**halves.config), "cpu"))


def test_another_size_is_read_where_the_net_takes_it(house):
    def at(record, size):
        return Transfer(run=record.id, data=ELSEWHERE.model_copy(update={"image_size": size}), trained=False)

    def vit(**options):
        return run(asked(encoder={"name": "vit_micro", "options": {"dim": 24, "heads": 2, "depth": 1} | options}), "cpu")

    net = run(asked(), "cpu")
    found = transfer(at(net, 40), "cpu")
    assert (found.manifest["image_size"], found.manifest["trained_size"]) == (40, 32)
    tokens, side_by_side = vit(), vit(pool="concat")
    assert transfer(at(tokens, 40), "cpu").manifest["image_size"] == 40, "its positions are laid over other patches"
    for record, size, why in ((tokens, 36, "multiples of 8"), (side_by_side, 40, "one size alone")):
        with pytest.raises(UserError, match=rf"vit_micro of {record.id} was trained at 32 px and cannot be read at {size} px") as error:
            transfer(at(record, size), "cpu")
        assert "give image_size = 32" in str(error.value) and why in str(error.value)


def test_what_is_no_run_with_an_encoder_is_named(trained):
    reference = untrained.make(asked(), "cpu").id
    moved = transfer(Transfer(run=trained.id, data=ELSEWHERE), "cpu").id
    tested = "embedded-range-0123456789ab"
    nothing = {"metrics": [], "evaluations": {}, "arrays": {}}
    records.save(tested, config={}, manifest={"kind": "range_test"}, **nothing)
    config = asked().model_dump(mode="json")
    for name in ("embedded-0000000000aa", "embedded-0000000000bb", "embedded-0000000000cc"):
        records.save(name, config=config, manifest={"diverged": "The loss is not finite."}, **nothing)
    for name, said in {
        trained.id[:-1]: rf"Unknown run '{trained.id[:-1]}'.*{trained.id}",
        "": "Unknown run .*Nearest: embedded-",
        "..": "Unknown run .*Nearest: embedded-",
        reference: "is the reference of an untrained encoder and no run",
        moved: "is a transfer of a run's encoder and no run",
        tested: "is a range test and no run",
        "embedded-0000000000aa": r"did not train to its end.*\(The loss is not finite",
    }.items():
        with pytest.raises(UserError, match=said):
            transfer(Transfer(run=name, data=ELSEWHERE), "cpu")
    assert records.runs_dir().is_dir() and records.find(trained.id)


def test_a_file_that_is_missing_or_does_not_fit_says_so(trained):
    wanted, file = Transfer(run=trained.id, data=ELSEWHERE), encoder_file(trained.id)
    weights = load_file(file)
    export(build_encoder("resnet_mini", 32, stem="stride2"), file)
    with pytest.raises(UserError, match=f"{file.name} does not fit resnet_tiny"):
        transfer(wanted, "cpu")
    save_file({key: value / 0 for key, value in weights.items()}, file)
    with pytest.raises(Diverged, match="features are not finite"):
        transfer(wanted, "cpu")
    file.unlink()
    with pytest.raises(
        UserError, match=rf"not on this machine: there is no encoders/{file.name} in CACHE_DIR.*not committed.*trained anew"
    ):
        transfer(wanted, "cpu")
    assert find(wanted) is None


def test_the_command_goes_on_and_says_what_is_missing(house, capsys, monkeypatch):
    monkeypatch.setattr(command, "Data", lambda dataset, image_size: ELSEWHERE.model_copy(update={"image_size": image_size}))
    gone, there = (run(asked(seed=seed), "cpu") for seed in (0, 1))
    encoder_file(gone.id).unlink()
    words = ["--to", "embedded", "--finetune", "1", "--device", "cpu"]
    assert command.main([there.id, *words]) == 0
    table = capsys.readouterr().out
    found = find(Transfer(run=there.id, data=ELSEWHERE, finetune_epochs=1))
    before = find(Transfer(run=there.id, data=ELSEWHERE, trained=False))
    assert f"{found.id}, {before.id}" in table and "embedded (32 px)" in table
    shown = [f"{record.evaluations[name]['top1']:.1f}" for record, name in ((before, "linear"), (found, "linear"), (found, "finetune"))]
    assert table.splitlines()[-2].split()[-3:] == shown
    assert command.main([gone.id, there.id, *words]) == 2
    told = capsys.readouterr()
    assert f"Error: {gone.id}: The encoder of" in told.err and there.id in told.out and gone.id not in told.out
