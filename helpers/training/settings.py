"""How a run is trained, as the loop is told: numbers that are settled, where a config may still ask for them to be found."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainSettings:
    epochs: int
    optimizer: str = "adamw"
    rate: float = 1e-3
    weight_decay: float = 0.0
    final_weight_decay: float | None = None  # where a cosine leads it; None: it stays
    momentum: float = 0.9
    beta2: float = 0.999  # of the Adam family
    schedule: str = "one_cycle"
    warmup_epochs: float = 0.0
    clip_gradients: float = 0.0  # the longest that the gradient of a step may be, all parameters together; 0 leaves it as it is
    accumulate: int = 1  # batches gathered into one step; their negatives are shared
    precision: str = "auto"  # of core.devices.PRECISIONS
    compile: bool = False  # pays back after some hundreds of steps on a GPU, seldom on a CPU
    average: float = 0.0  # momentum of the average of the encoder that is read; 0 reads the encoder itself
    sizes: tuple[tuple[float, int], ...] = ()  # (share of the epochs, side): views of that side from there on; none: the recipe's
    seed: int = 0
    checkpoint_seconds: float = 60.0
