"""The runs of a day on a GPU: the race, then the studies' runs, those first that finish most claims a minute."""

from dataclasses import replace

import torch

from helpers.campaigns.campaign import read_list
from helpers.campaigns.priority import Speed, Wanted, counts_of, fits, in_order, wanted
from helpers.core.files import json_lines, read_json, results_dir
from helpers.gpu_day.page import SPEED
from helpers.models import build_encoder, macs
from helpers.runs import records
from helpers.runs.config import RunConfig
from helpers.runs.recipes import merged
from helpers.runs.sweep import sweep
from helpers.studies.open import preset_values
from helpers.studies.speedrun import race as speedrun
from helpers.studies.speedrun.runs import race_config
from helpers.studies.speedrun.settings import Settings

LISTS = {"full": "gpu_day", "toy": "gpu_day_toy"}
RACES = {"full": "gpu", "toy": "demo"}
TOY_RACE = {"train_images": 400, "test_images": 100, "target": 15.0, "recipe": {"training": {"epochs": 1}}, "candidates": {}}
# Before anything was measured: operations a second, seconds a step takes at least, and a run besides its steps (images, readouts, maps).
GUESS = {"cuda": Speed(1.5e14, 0.008, 20.0), "cpu": Speed(2e10, 0.02, 4.0)}
COMPILING = 45.0  # seconds a race spends on it before its first step
ELSEWHERE = "elsewhere.json"  # in results/gpu_day: runs that other machines made, whose records are not here


class Runs:
    """What a day trains."""

    claims: list[Wanted]
    configs: list[RunConfig]

    def __init__(self, day):
        self.day, self.claims, self.configs = day, [], []
        path = results_dir() / "gpu_day" / ELSEWHERE
        self.elsewhere = set(read_json(path)["runs"]) if path.is_file() else set()

    def plan(self) -> None:
        """Read every study's grid and what its claims lack. A study whose images are not here is left out, and named."""
        self.claims, self.configs, skipped = [], [], {}
        self.day.state["skipped"] = skipped
        for entry in read_list(LISTS[self.day.size]):
            try:
                study = entry.opened()
                for config in study.configs:
                    counts_of(config)  # its images are packed here, where they were not
                self.claims += [replace(claim, study=entry.title) for claim in wanted(study)]
                self.configs += study.configs
            except Exception as error:  # images that are not here, or whatever else: the other studies can still be planned
                skipped[entry.title] = str(error)
                self.day.say(f"{entry.title} is left out: {error}")
        self.configs = list({config.id: config for config in self.configs}.values())

    def there(self, run: str) -> bool:
        return run in self.elsewhere or (records.runs_dir() / run).is_dir()

    def race(self) -> tuple[str, bool]:
        """One run of the race that has no record yet, by itself and to its end, or not at all."""
        size, left = self.day.size, self.day.left()
        values = preset_values("speedrun", RACES[size], "as_written")
        settings = Settings(**(merged(values, TOY_RACE) if size == "toy" else values))
        missing = [config for seed in range(settings.seeds) if not self.there((config := race_config(settings, seed)).id)]
        if not missing:
            return self._raced(f"all {settings.seeds} seeds are raced", True)
        expected = self._speed().seconds(missing[0]) + COMPILING * missing[0].training.compile
        if expected > left:
            return self._raced(f"not begun: it would take about {expected:.0f} s, and {left:.0f} s are left", False)
        outcome = speedrun.race(missing[:1], device=str(self.day.device), time_limit=left)
        self.day.take_stock()
        if why := outcome.failures.get(missing[0].id):
            raise RuntimeError(why)
        if outcome.stopped:
            return self._raced(outcome.stopped, False)
        record = outcome[missing[0]]
        found = speedrun.finish(record, settings.target)
        best = record.metrics["knn"].max()
        said = (
            f"{settings.target:g} % kNN after {found.seconds:.0f} s"
            if found
            else f"{settings.target:g} % kNN not reached, best {best:.1f} %"
        )
        return self._raced(f"seed {missing[0].seed}: {said}, {record.metrics['elapsed_seconds'].iloc[-1]:.0f} s in all", len(missing) == 1)

    def _raced(self, said: str, complete: bool) -> tuple[str, bool]:
        self.day.state["race"] = {"said": said}
        return said, complete

    def train(self) -> tuple[str, bool]:
        """Train in order what can be finished in the time that is left, looking again after each lot at what it took."""
        if not self.configs or self.day.state["skipped"]:
            self.plan()  # the step that plans beside its tests was done before, or images have arrived since
        state, speed = self.day.state, self._speed()
        workers = state.setdefault("workers", 1)
        rates = state.get("sharing", {}).get("rates", {})
        slower = workers * rates["1"] / rates[str(workers)] if workers > 1 else 1.0  # a run beside others, times one by itself
        failures, trained, first = state.setdefault("failures", {}), state.setdefault("trained", []), True
        while True:
            left = self.day.left()
            to_do = [config for config in self.configs if not self.there(config.id) and config.id not in failures]
            open_claims = [replace(claim, runs=frozenset(run for run in claim.runs if not self.there(run))) for claim in self.claims]
            order = in_order(open_claims, to_do, speed.seconds, left * workers / slower)
            self._note(order, speed)
            lot = fits(order, lambda config: speed.seconds(config) * slower, workers, left)
            if not lot:
                rest = f"{len(to_do)} of {len(self.configs)} runs are left" + (f", none of which fits into {left:.0f} s" if to_do else "")
                return f"{len(trained)} trained, {len(failures)} failed; {rest}", not to_do
            lot = lot[:workers] if first or workers == 1 else lot
            engine = {"engine": "processes", "workers": workers} if workers > 1 else {}
            outcome = sweep(lot, device=str(self.day.device), time_budget=left, **engine)
            first = False
            for config in lot:
                if record := outcome[config]:
                    trained.append(config.id)
                    speed.learn(config, record.manifest["seconds"] / slower)
            failures |= outcome.failures
            self.day.take_stock()
            self.day.say(outcome.summary())
            self.day.keep()
            if outcome.stopped or not any(outcome[config] for config in lot) and not outcome.failures:
                return f"{len(trained)} trained, {len(failures)} failed; {outcome.stopped or 'nothing more was recorded'}", False

    def _note(self, order: list[RunConfig], speed: Speed) -> None:
        """The claims in the order in which they will be finished, for the page."""
        place = {config.id: number for number, config in enumerate(order)}
        known = {config.id: config for config in self.configs}
        claims = sorted(self.claims, key=lambda claim: max((place.get(run, -1) for run in claim.runs), default=-1))
        self.day.state["plan"] = [
            {
                "claim": claim.claim,
                "study": claim.study,
                "runs": len(claim.runs),
                "minutes": sum(speed.seconds(known[run]) for run in claim.runs) / 60,
                "done": f"{sum(self.there(run) for run in claim.runs)} of {len(claim.runs)}",
            }
            for claim in claims
        ]

    def _speed(self) -> Speed:
        """What the speed table says of this device, or a guess."""
        guess = GUESS[self.day.device.type]
        rows = [r for r in json_lines(self.day.folder / SPEED) if r.get("way") == "end_to_end" and "images_per_second" in r]
        if not rows:
            return replace(guess, factors={})
        nets: dict[str, float] = {}
        for r in rows:  # the slower of its batches
            flops = r["images_per_second"] * 2 * 2 * 3 * _macs(r)  # two views; a multiply-add is two; forth and twice back
            nets[r["backbone"]] = min(flops, nets.get(r["backbone"], flops))
        step = min(r["batch"] / r["images_per_second"] for r in rows)
        return replace(guess, flops=min(nets.values()), step=step, nets=nets, factors={})


def _macs(row: dict) -> int:
    with torch.device("meta"):
        return macs(build_encoder(row["backbone"], row["size"], stem=row["stem"]))
