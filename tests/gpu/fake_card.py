"""A graphics card that is not there: tensors that say "cuda" and have shapes but no content, and a watch for what a real one waits for.

Fake tensors (torch.export's) refuse to be read and refuse to be mixed with the host's. What they let pass, the watch refuses: anything
sent to the card or fetched from it, a generator of the other side, positions on the host. Backward passes are walked node by node in
here, as torch's own engine asks the driver for its streams.
"""

from contextlib import ExitStack, contextmanager

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CARD = torch.device("cuda", 0)
FROM_THE_HOST = (torch.tensor, torch.as_tensor, torch.from_numpy, torch.asarray)


class Waits(AssertionError):
    """Something that a real card would be waited for, or that would fail there; the message names the operation."""


class Draws(torch.Generator):
    """Stands for a generator on the card, which cannot be made without one."""

    device = CARD


class Watch(TorchDispatchMode):
    """Refuses operations between the host and the card. One number on the host is fine beside the card's tensors, but for a copy."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        # The one kernel of those used here that torch knows no shapes for. It writes into what it is given.
        result = None if function is torch.ops.aten._fused_sgd_.default else function(*args, **(kwargs or {}))
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        sides = {leaf.device.type for leaf in [*given, *tree_leaves(result)] if isinstance(leaf, torch.Tensor)}
        if "cuda" in sides:
            name = str(function)
            if "cpu" in sides and ("copy" in name or any(leaf.ndim and leaf.device.type == "cpu" for leaf in given)):
                raise Waits(f"{name} between the host and the card")
        return result


class NothingSent(TorchFunctionMode):
    """Refuses tensors made of the host's numbers on the card, each a copy that is waited for, and generators that are not there."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in FROM_THE_HOST and torch.device(kwargs.get("device") or "cpu").type == "cuda":
            raise Waits(f"{function.__name__} sends numbers of the host to the card")
        result = function(*args, **kwargs)
        draws = kwargs.get("generator")
        if draws is not None and isinstance(result, torch.Tensor) and result.device.type != draws.device.type:
            raise Waits(f"{function.__name__} on {result.device.type} with a generator on {draws.device.type}")
        return result


def backward(loss: torch.Tensor, gradient: torch.Tensor | None = None) -> None:
    """What loss.backward() does, node by node in Python."""
    backward_of([loss], [torch.ones_like(loss) if gradient is None else gradient])


def backward_of(outputs, gradients, **keywords) -> None:
    roots = [(output.grad_fn, output.output_nr, gradient) for output, gradient in zip(outputs, gradients, strict=True)]
    waiting, order = {}, []
    _visit([node for node, _, _ in roots], order)
    for node, place, gradient in roots:
        _give(waiting, node, place, gradient)
    for node in reversed(order):
        given = waiting.pop(node, None)
        if given is None:
            continue
        if hasattr(node, "variable"):
            leaf, found = node.variable, given[0]
            leaf.grad = found.detach() if leaf.grad is None else leaf.grad + found
            continue
        with torch.no_grad():
            found = node(*given)
        for (following, place), each in zip(node.next_functions, found if isinstance(found, tuple) else (found,), strict=True):
            if following is not None and each is not None:
                _give(waiting, following, place, each)


def _give(waiting: dict, node, place: int, gradient: torch.Tensor) -> None:
    expected = node._input_metadata[place]
    if gradient.device != expected.device:
        raise Waits(f"{node.name()} gets a gradient on {gradient.device} for what is on {expected.device}")
    with torch.no_grad():
        gradient = gradient.to(expected.dtype).sum_to_size(expected.shape)
        places = waiting.setdefault(node, [None] * len(node._input_metadata))
        places[place] = gradient if places[place] is None else places[place] + gradient


def _visit(roots, order: list) -> None:
    """Every node behind the roots, those that are to be walked last first."""
    seen, stack = set(), [(root, False) for root in roots]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node is not None and node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(following, False) for following, _ in node.next_functions]


@contextmanager
def pretended(monkeypatch):
    """In here tensors may lie on a card that is not there: what a program asks of torch.cuda is answered, and backward() works."""
    from helpers.core import devices

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *given, **kw: True)
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: None)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
    monkeypatch.setattr(devices, "good_at_bf16", lambda kind: True)
    monkeypatch.setattr(torch.Tensor, "backward", backward)
    monkeypatch.setattr(torch.autograd, "backward", backward_of)
    with FakeTensorMode() as mode:
        yield mode


@contextmanager
def watched():
    with ExitStack() as open:
        for mode in (Watch(), NothingSent()):
            open.enter_context(mode)
        yield


def moved(module: torch.nn.Module, plain: bool = False) -> torch.nn.Module:
    """The module with fake tensors on the card in place of its own, laid out as training would; to() has nothing left to do."""
    for part in module.modules():
        for name, value in part._parameters.items():
            part._parameters[name] = None if value is None else torch.nn.Parameter(_on_card(value, plain), value.requires_grad)
        for name, value in part._buffers.items():
            part._buffers[name] = None if value is None else _on_card(value, plain)
    module.to = lambda *where, **how: module  # torch would swap the parameters for others, which fake ones refuse
    return module


def _on_card(value: torch.Tensor, plain: bool) -> torch.Tensor:
    layout = torch.channels_last if value.ndim == 4 and not plain else torch.contiguous_format
    return torch.empty(value.shape, dtype=value.dtype, device=CARD, memory_format=layout)
