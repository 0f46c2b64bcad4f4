"""A process of a group of two (or alone): the loss and the gradients of every case of CASES. Run by test_two_processes.py.

python two_processes.py RANK WORLD STORE OUT: each process gets its half of the samples, one alone gets all of them.
"""

import sys

import torch
import torch.distributed as dist

from helpers.methods import losses
from helpers.methods.gather import gathered

COUNT, WIDTH = 8, 6  # samples of both processes together


def samples(name, number):
    """The inputs of a case: `number` tensors [COUNT, WIDTH], the same in every process."""
    draw = torch.Generator().manual_seed(sum(map(ord, name)))
    return [torch.randn(COUNT, WIDTH, generator=draw) for _ in range(number)]


STORED = samples("rows kept from earlier steps", 1)[0]  # not shared out: every process has the whole of a memory or queue
# name: (how many tensors of samples it takes, the loss of those)
CASES = {
    "nt_xent": (2, lambda a, b: losses.nt_xent(a, b, 0.2)),
    "info_nce": (2, lambda a, b: losses.info_nce(a, b, STORED, 0.2)),
    "moco_v3_contrast": (2, lambda a, b: losses.moco_v3_contrast(a, b, 0.2)),
    "instance_discrimination": (2, lambda a, b: losses.instance_discrimination(a, b.argmax(1), STORED, 0.2)),
    "instance_nce": (2, lambda a, b: losses.instance_nce(a, b.argmax(1), b.argsort(1)[:, :3], STORED, 0.2, torch.zeros(()))[0]),
    "proximal": (2, lambda a, b: losses.proximal(a, b.argmax(1), STORED)),
    "multi_view_nt_xent": (3, lambda *views: losses.multi_view_nt_xent(list(views), 0.2)),
    "byol_loss": (2, losses.byol_loss),
    "negative_cosine": (2, losses.negative_cosine),
    "barlow_twins": (2, lambda a, b: losses.barlow_twins(a, b, 0.1)),
    "vicreg": (2, lambda a, b: losses.vicreg(a, b, 25, 25, 1)),
    "swav_loss": (
        2,
        lambda a, b: losses.swav_loss(torch.stack((a, b), 1), torch.stack([losses.sinkhorn(x, 0.5, 3) for x in (a, b)], 1), 0.1),
    ),
    "relic_loss": (3, lambda a, b, c: losses.relic_loss([a, b, c], [c, a], 0.2, 0.7)[0]),
    "dino_loss": (2, lambda a, b: losses.dino_loss(torch.stack((a, b), 1), torch.stack((b, a), 1), gathered(b).detach().mean(0), 0.1, 0.4)),
}


def main(rank: int, world: int, store: str, out: str) -> None:
    torch.set_num_threads(1)
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    found = {}
    for name, (number, loss) in CASES.items():
        own = [x.chunk(world)[rank].clone().requires_grad_() for x in samples(name, number)]
        value = loss(*own)
        value.backward()
        gradients = [torch.zeros_like(x) if x.grad is None else x.grad / world for x in own]  # data parallel training averages
        if world > 1:
            value = value.detach().clone()
            dist.all_reduce(value)
            value /= world
        found[name] = (value.detach(), gradients)
    torch.save(found, out)
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4])
