"""One batch from the batches of all processes that train together. A process alone gets its own batch back, untouched."""

import torch
import torch.distributed as dist


def processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _Gathered(torch.autograd.Function):
    """Every process computes the whole loss from what it gathers, so a sample's gradient is the sum of what all of them send back;
    averaging the parameters' gradients over the processes, as data parallel training does, then gives that of the one loss."""

    @staticmethod
    def forward(ctx, own):
        ctx.count, ctx.rank = len(own), dist.get_rank()
        parts = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.clone(memory_format=torch.contiguous_format)  # autograd may have given the same tensor to others
        dist.all_reduce(gradient)
        return gradient[ctx.rank * ctx.count : (ctx.rank + 1) * ctx.count]


def gathered(own: torch.Tensor) -> torch.Tensor:
    """The rows of all processes, in the order of their ranks, with the gradient that belongs to the own ones. Equal counts everywhere."""
    return _Gathered.apply(own) if processes() > 1 else own
