"""The loop. One for every method: it knows optimizers, schedules and checkpoints, and nothing of what is learned."""

import math
import time
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch

from helpers.core.clock import process_seconds
from helpers.core.devices import autocast, out_of_memory, wait
from helpers.core.errors import Diverged, TrainingStopped, UserError
from helpers.core.seeds import derive, generator, generator_states, restore_generators
from helpers.methods import Method, StepBatch
from helpers.models import tune
from helpers.training import checkpoints
from helpers.training.accumulation import as_one
from helpers.training.averaged import Averaged
from helpers.training.compiled import compiled
from helpers.training.gradients import settled
from helpers.training.group import Group
from helpers.training.growing import Growing
from helpers.training.optimizers import build_optimizer, set_decay, set_rate
from helpers.training.schedules import decay_at, schedule_point
from helpers.training.settings import TrainSettings
from helpers.training.stopping import Stopped
from helpers.training.watch import gradient_parts, spread_and_rank

CHECK_EVERY = 50  # steps between two looks at the losses; each look waits for the device
POSITION = ("epoch", "step", "total", "seconds", "first_loss", "traced")  # of a run, as its checkpoint has them
EXPLODED = 1e4  # a loss this many times its first value will not come back


@dataclass
class Training:
    """One run on its way: the parts, the position, and what has been measured so far."""

    method: Method
    batches: object
    settings: TrainSettings
    device: torch.device
    folder: Path | None = None  # of the checkpoints; None keeps none
    probe: Callable[[Method, int], dict] | None = None  # called after each epoch; what it returns goes into the metrics
    report: Callable[[dict, int], None] = lambda row, epochs: None
    stop: Callable[[], str | None] = lambda: None
    group: Group | None = None  # the processes that share each batch, where there are several
    trace: bool = False  # keep how long the gradient was at every step, part by part
    metrics: list[dict] = field(default_factory=list)
    epoch: int = 0
    step: int = 0  # of the whole run

    def __post_init__(self):
        s = self.settings
        if not math.isfinite(s.rate) or s.rate <= 0:
            raise UserError(f"The rate must be a positive number, not {s.rate}.")
        self.steps_per_epoch = len(self.batches) // s.accumulate
        if self.steps_per_epoch < 1:
            raise UserError(
                f"accumulate = {s.accumulate} needs that many batches an epoch, but there are {len(self.batches)}. Lower it or the batch size."
            )
        self.total = self.steps_per_epoch * s.epochs
        if self.method.needs_labels and self.batches.labels is None:
            raise UserError(f"{self.method.card.title} needs labels, and these images have none. Use a labelled split, or another method.")
        self.method.check(len(self.batches.positions), self.batches.batch_size * s.accumulate, s.accumulate)
        self.own = (self.group.rank,) if self.group and self.group.rank else ()  # beside the first process, draws of one's own
        self.plain = s.precision == "plain"
        self.method.to(self.device, memory_format=torch.preserve_format if self.plain else torch.channels_last)
        if not self.plain:
            tune(self.method, self.device)
        given = {key: getattr(s, key) for key in ("rate", "weight_decay", "momentum", "beta2", "precision")}
        self.optimizer = build_optimizer(s.optimizer, self.method.parameter_groups(), **given)
        compile = s.compile and not self.plain
        self.encode_outputs = compiled(self.method, self.device, graphs=s.accumulate == 1) if compile else self.method.embed
        self.method.views.compiled = compile and self.device.type == "cuda"  # a CPU waits for no launches
        self.averaged = Averaged(self.method.encoder, s.average) if s.average else None
        self.views = Growing(self.method, s.sizes, s.epochs)
        self.losses: list[torch.Tensor] = []  # of this epoch, on the device until somebody has to look
        self.logs: list[dict] = []
        self.parts = gradient_parts(self.method) if self.trace else {}
        self.traced: list[list[float]] = []  # of every step in the epochs that are done, a number for each of the parts
        self.first_loss: float | None = None
        self.seconds = 0.0  # of training in this epoch
        self.first_step_seconds: float | None = None  # of this process: what compiling and first allocations add is in it
        self.resumed_at: int | None = None  # the step this process went on from, where it did not begin at the first
        self.saved_at, self.saved_step = time.perf_counter(), 0

    # -- one step ---------------------------------------------------------------------------------------------------

    def _inputs(self, batch, part: int):
        """The views of a batch and what the method makes of them; random numbers are a function of (seed, step, part)."""
        batch = self.group.share(batch) if self.group else batch
        draw = generator(self.device, self.settings.seed, "views", self.step, part, *self.own)
        step_batch = StepBatch(batch.indices, batch.labels if self.method.needs_labels else None, self.step / self.total, draw)
        with torch.no_grad():
            views = self.views.at(self.epoch)(batch.images, draw)
            views = [view.contiguous() for view in views] if self.plain else views
            return self.method.prepare(views, step_batch), step_batch

    def _embed(self, inputs, part: int):
        torch.manual_seed(derive(self.settings.seed, "dropout", self.step, part, *self.own))
        with autocast(self.device, self.settings.precision):
            return self.encode_outputs(inputs)

    def _backward(self, group: list) -> tuple[torch.Tensor, dict]:
        prepared = [self._inputs(batch, part) for part, batch in enumerate(group)]
        if len(prepared) == 1:
            inputs, step_batch = prepared[0]
            outputs = self._embed(inputs, 0)
            loss, logs = self.method.criterion(outputs, step_batch)
            loss.backward()
            self.embedding = outputs["z"].detach()
            return loss.detach(), logs
        loss, logs, self.embedding = as_one(self.method, prepared, self._embed)
        return loss, logs

    def _point(self, step: int):
        return schedule_point(self.settings.schedule, step, self.total, round(self.settings.warmup_epochs * self.steps_per_epoch))

    def _step(self, group: list) -> None:
        point = self._point(self.step)
        set_rate(self.optimizer, self.settings.rate * point.factor, point.momentum, maximum=self.settings.rate)
        if self.settings.final_weight_decay is not None:
            set_decay(self.optimizer, decay_at(self.step, self.total, self.settings.weight_decay, self.settings.final_weight_decay))
        self.take(group)

    def take(self, group: list) -> None:
        """One optimizer step on a group of batches, at the rate that the optimizer has."""
        started = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        with self._memory_named():
            loss, logs = self._backward(group)
            logs = logs | settled(self.method, self.group, self.settings.clip_gradients, self.parts)
            self.optimizer.step()
        if self.first_step_seconds is None:
            wait(self.device)
            self.first_step_seconds = round(time.perf_counter() - started, 3)
        self.step += 1
        self.method.after_step(self.step / self.total)
        if self.averaged:
            self.averaged.follow(self.step)
        self.losses.append(loss)
        self.logs.append(logs)

    # -- epochs -----------------------------------------------------------------------------------------------------

    def run(self) -> list[dict]:
        """Train to the end (from the newest checkpoint where there is one) and return the metrics, a row an epoch."""
        self.resume()
        with self._memory_named():
            while self.epoch < self.settings.epochs:
                self._epoch()
        if self.averaged:
            self.averaged.install()
        return self.metrics

    def _epoch(self) -> None:
        self.method.train()
        started = time.perf_counter()
        done = self.step - self.epoch * self.steps_per_epoch
        group = []
        for batch in self.batches.epoch(self.epoch, start=done * self.settings.accumulate):
            group.append(batch)
            if len(group) < self.settings.accumulate:
                continue
            self._step(group)
            group = []
            done += 1
            now = time.perf_counter()
            if len(self.losses) % CHECK_EVERY == 0:
                self._check()
            if done < self.steps_per_epoch and self._due():
                self.seconds, started = self.seconds + now - started, now
                self.save()
            if done < self.steps_per_epoch and (reason := self.stop()):
                self.seconds += time.perf_counter() - started
                self._halt(reason)
            if done == self.steps_per_epoch:
                break
        losses = self._check()
        row = {"epoch": self.epoch + 1, "step": self.step, "loss": losses.mean().item(), "rate": self.optimizer.param_groups[0]["lr"]}
        row |= {key: torch.stack([log[key] for log in self.logs]).mean().item() for key in self.logs[0]}
        if self.parts:
            self.traced += torch.stack([torch.stack([log[name] for name in self.parts]) for log in self.logs]).tolist()
        row["seconds"] = round(self.seconds + time.perf_counter() - started, 3)
        row |= spread_and_rank(self.embedding)
        if self.probe is not None:
            with self.averaged.in_place() if self.averaged else nullcontext():
                row |= self.probe(self.method, self.epoch + 1)
        row["elapsed_seconds"] = round(process_seconds(), 3)
        self.metrics.append(row)
        self.report(row, self.settings.epochs)
        self.epoch, self.losses, self.logs, self.seconds = self.epoch + 1, [], [], 0.0
        if self.epoch < self.settings.epochs and (reason := self.stop()):
            self._halt(reason)
        if self.folder is not None and (self._due() or self.epoch == self.settings.epochs):
            self.save()

    def _due(self) -> bool:
        return self.folder is not None and time.perf_counter() - self.saved_at >= self.settings.checkpoint_seconds

    def _check(self) -> torch.Tensor:
        """This epoch's losses on the host; an error naming the step where one is no longer a number or has exploded."""
        losses = torch.stack(self.losses).double().cpu()
        if self.first_loss is None:
            self.first_loss = losses[0].item()
        bad = ~losses.isfinite() | (losses.abs() > EXPLODED * max(abs(self.first_loss), 1.0))
        if bad.any():
            at = int(bad.nonzero()[0])
            step = self.step - len(losses) + at
            rate = self.settings.rate * self._point(step).factor
            raise Diverged(
                f"The loss became {losses[at].item():.4g} at step {step + 1} of {self.total} (epoch {self.epoch + 1}), at rate {rate:.3g}. "
                f"Lower the rate (maximum now {self.settings.rate:.3g}), or warm up longer. Last good checkpoint: {self._last_good()}."
            )
        return losses

    # -- surviving ----------------------------------------------------------------------------------------------------

    def _halt(self, reason: str) -> None:
        if self.folder is not None:
            self.save()
        raise Stopped(
            f"Stopped after step {self.step} of {self.total} because {reason}; "
            + ("run again to go on from there." if self.folder else "nothing was saved.")
        )

    @contextmanager
    def _memory_named(self):
        """An allocation that fails inside becomes an error that names what to change."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise TrainingStopped(
                f"{self.device} is out of memory at batch size {self.batches.batch_size}, step {self.step + 1}. Lower training.batch_size; "
                f"raise training.accumulate (now {self.settings.accumulate}) by the same factor to compare as many images as before. "
                f"Last good checkpoint: {self._last_good()}."
            ) from error

    def _last_good(self) -> str:
        return f"after step {self.saved_step}" if self.saved_step else "none yet"

    def save(self) -> None:
        """Everything at this position; a state whose losses are no longer finite is never saved."""
        if self.losses:
            self._check()
        state = {
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged.values if self.averaged else None,
            "position": {name: getattr(self, name) for name in POSITION},
            "metrics": self.metrics,
            "losses": torch.stack(self.losses).cpu() if self.losses else None,
            "logs": [{key: value.cpu() for key, value in log.items()} for log in self.logs],
            "generators": generator_states(self.device),
        }
        checkpoints.save(self.folder, self.step, state)
        self.saved_at, self.saved_step = time.perf_counter(), self.step

    def resume(self) -> bool:
        """Go back to the newest good checkpoint; False where there is none."""
        state = checkpoints.load_newest(self.folder, self.device) if self.folder is not None else None
        if state is None:
            return False
        position = state["position"]
        if position["total"] != self.total:
            raise UserError(
                f"The checkpoint is of a run of {position['total']} steps, this one has {self.total}: another configuration. Remove its folder."
            )
        self.method.load_state_dict(state["method"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.averaged:
            self.averaged.load(state["averaged"])
        for name in POSITION:
            setattr(self, name, position[name] if name != "traced" else position.get(name, []))  # older ones have no trace
        self.metrics = state["metrics"]
        self.losses = list(state["losses"].to(self.device)) if state["losses"] is not None else []
        self.logs = [{key: value.to(self.device) for key, value in log.items()} for log in state["logs"]]
        restore_generators(state["generators"], self.device)
        self.saved_step = self.resumed_at = self.step
        return True


def train(method: Method, batches, settings: TrainSettings, device: torch.device, **keywords) -> list[dict]:
    """Train a method on batches; keywords are Training's: folder, probe, report, stop."""
    return Training(method, batches, settings, device, **keywords).run()
