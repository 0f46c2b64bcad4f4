"""What a stretch of a program does, operation by operation: arithmetic, bytes and launches, counted without computing anything."""

from dataclasses import dataclass, field

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from helpers.methods import Method, StepBatch
from helpers.training.optimizers import build_optimizer
from helpers.views import Views

ONE_CHUNK = 64  # images whose views are made in one go everywhere
TENSORS_A_LAUNCH = 32  # an optimizer's fused kernel takes some tens of tensors at a time


@dataclass(frozen=True)
class Chip:
    """From its data sheet: dense bf16 FLOP/s and bytes a second; and assumptions."""

    name: str
    matrix: float
    bandwidth: float
    matrix_share: float = 0.5  # assumed: what convolutions and products reach of the sheet's figure
    bandwidth_share: float = 0.8  # assumed
    launch: float = 4e-6  # assumed: seconds a kernel costs at least, launched one by one
    launch_in_graph: float = 1.5e-6  # assumed: the same inside a CUDA graph


@dataclass
class Counts:
    """What a stretch of a program does: an entry a kernel, (FLOPs, bytes, launches)."""

    kernels: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def flops(self) -> int:
        return sum(flops for flops, _, _ in self.kernels)

    @property
    def bytes(self) -> int:
        return sum(moved for _, moved, _ in self.kernels)

    @property
    def launches(self) -> int:
        return sum(launches for _, _, launches in self.kernels)

    def times(self, factor: float) -> "Counts":
        """The same kernels on so many times the data."""
        return Counts([(round(flops * factor), round(moved * factor), launches) for flops, moved, launches in self.kernels])

    def seconds(self, chip: Chip, launch: float) -> float:
        """The kernels one after the other, each as slow as the slowest of what it needs."""
        return sum(self.seconds_by_limit(chip, launch).values())

    def seconds_by_limit(self, chip: Chip, launch: float) -> dict[str, float]:
        """The same, by what each kernel waits for."""
        spent = {"arithmetic": 0.0, "memory": 0.0, "launches": 0.0}
        for flops, moved, launches in self.kernels:
            needs = (flops / (chip.matrix * chip.matrix_share), moved / (chip.bandwidth * chip.bandwidth_share), launch * launches)
            spent[max(zip(needs, spent, strict=True))[1]] += max(needs)
        return spent


class Counter(TorchDispatchMode):
    """Counts every operation below autograd that runs a kernel; views and empty tensors run none."""

    def __init__(self):
        super().__init__()
        self.counts = Counts()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        written, read = _tensors(result), _tensors((args, kwargs))
        in_place = function._schema.is_mutable and bool(read)
        if not (function.is_view or "empty" in str(function)) and (written or in_place):
            # What is changed in place is read and written; some such operations return nothing.
            moved = sum(map(size, read)) + sum(map(size, written or read))
            launches = -(-len(read) // (TENSORS_A_LAUNCH * 5)) if "_fused_" in str(function) else 1  # Adam reads five tensors a parameter
            self.counts.kernels.append((flops_of(function, args, kwargs, result), moved, launches))
        return result


def flops_of(function, args, kwargs: dict, result) -> int:
    """Of one operation; a multiplication and its addition are two. Elementwise work counts as none."""
    if function._overloadpacket is torch.ops.aten.convolution_backward:
        # torch's own formula counts the weights' gradient of a grouped convolution as though it had one group: for a depthwise
        # layer too much by a factor of the channels.
        gradient, _, weight = args[:3]
        return 2 * weight.numel() * gradient.shape[0] * gradient.shape[2:].numel() * sum(args[-1][:2])
    formula = flop_registry.get(function._overloadpacket)
    return int(formula(*args, **kwargs, out_val=result)) if formula else 0


def _tensors(tree) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def size(tensor: torch.Tensor) -> int:
    """Bytes that a kernel touches: what is expanded lies in memory once."""
    elements = 1
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        elements *= length if stride else 1
    return elements * tensor.element_size()


def count_step(method: Method, batch: int, size: int | None = None, optimizer: str = "adamw") -> Counts:
    """One training step in bf16, from views that are ready, all of one size or as the method's recipe has them; on tensors with shapes and no content, the method's weights included."""
    mode = FakeTensorMode()
    _emptied(method.train(), mode)
    with mode:
        updates = build_optimizer(optimizer, method.parameter_groups(), rate=1e-3)
        draw = torch.Generator().manual_seed(0)
        labels = torch.zeros(batch, dtype=torch.long) if method.needs_labels else None
        step_batch = StepBatch(torch.arange(batch), labels, 0.0, draw)
        sides = method.views.sizes if size is None else [size] * method.views.settings.count
        images = [torch.empty(batch, 3, side, side).to(memory_format=torch.channels_last) for side in sides]
        for _ in range(2):  # the first step also makes the optimizer's state
            updates.zero_grad(set_to_none=True)
            with Counter() as counter:
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    outputs = method.embed(method.prepare(images, step_batch))
                loss, _ = method.criterion(outputs, step_batch)
                loss.backward()
                updates.step()
    return counter.counts


def count_forward(method: Method, batch: int) -> Counts:
    """The encoder read once, in bf16, on full-size images."""
    mode, encoder = FakeTensorMode(), method.encoder.eval()
    _emptied(encoder, mode)
    with mode, torch.no_grad(), Counter() as counter, torch.autocast("cpu", dtype=torch.bfloat16):
        encoder(torch.empty(batch, 3, encoder.image_size, encoder.image_size).to(memory_format=torch.channels_last))
    return counter.counts


def count_views(views: Views, batch: int) -> Counts:
    """Making the views of a batch as a GPU does, in one go. On a CPU, which is what is counted on, they are made in chunks that fit
    its cache, so one chunk is counted and scaled."""
    with FakeTensorMode(), Counter() as counter:
        views(torch.empty(ONE_CHUNK, 3, views.size, views.size, dtype=torch.uint8), torch.Generator().manual_seed(0))
    return counter.counts.times(batch / ONE_CHUNK)


def _emptied(method: Method, mode: FakeTensorMode) -> None:
    for part in method.modules():
        for name, value in part._parameters.items():
            part._parameters[name] = None if value is None else torch.nn.Parameter(mode.from_tensor(value.detach()), value.requires_grad)
        for name, value in part._buffers.items():
            part._buffers[name] = None if value is None else mode.from_tensor(value)
