"""What an encoder reads from the background: images taken apart into foreground and background and put together anew.

After the backgrounds challenge (Xiao et al. 2020, "Noise or Signal"). They tile a piece of the background over the object; here the hole
is filled from its surroundings, so that no seams are left to be seen. What remains is a smooth patch where the background is patterned;
a small net trained to tell the drawn shapes from the filled backgrounds alone was right in 10 to 12 % of the cases, by chance it is 10.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.core.errors import UserError
from helpers.evaluation.shifts import at_a_time, check
from helpers.views.saliency import LEAST, MOST

KINDS = ("original", "foreground alone", "background alone", "background blurred", "mixed same", "mixed random")
RIM = 1 / 32  # of a side, at least a pixel: how far beyond its mask an object is taken to have bled
WIDTHS = (1 / 4, 1 / 8, 1 / 16, 1 / 32)  # deviations of the blurs that fill a hole, in sides: the nearer the background, the narrower
ENOUGH = 0.25  # the share of background under a blur from which on it alone counts
LITTLE = 1e-4  # weight of soft edges and rims: they count only where an image has no other background
BLURRED = 1 / 8  # deviation of the blurred background, in sides: no texture is left, only where it is light and what colour
SWAPS = 32  # rounds in which random pairs exchange donors; after log2(N) of them little is left of where they began


def swappable(masks: Tensor) -> Tensor:
    """Which images have both a foreground and a background, by the shares that saliency takes for a finding: bool [N]."""
    share = masks.mean((1, 2, 3))
    return (share > LEAST) & (share < MOST)


@torch.no_grad()
def recomposed(images: Tensor, labels: Tensor, masks: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """A whole set of uint8 images [N, 3, H, W] anew, by kind; masks: float [N, 1, H, W], 1 in the foreground, with soft edges.

    Foregrounds alone stand on the set's mean colour, which is nothing once it is normalised. Donors of backgrounds are of this set:
    "mixed same" goes round within each class in random order (a class of one keeps its own), "mixed random" takes every background
    once, unless one class is more than half of all. An image that is not `swappable` gives none, takes none and is itself in every
    kind: compare accuracies over the others."""
    labels = _checked(images, labels, masks, generator)
    if not len(images):
        return dict.fromkeys(KINDS, images)
    there = swappable(masks)
    _two_classes(labels, there)
    with torch.autocast(images.device.type, enabled=False):
        fills = filled(images, masks)
        mean = images.sum((0, 2, 3), keepdim=True, dtype=torch.int64) / (images.numel() / 3)
        groups = torch.where(there, labels, labels.max() + 1)  # what is not swappable is a class of its own, the last
        order = _by_group(groups, generator)
        made = {
            "original": images,
            "foreground alone": _over(images, masks, mean.round().byte().expand_as(images)),
            "background alone": fills,
            "background blurred": _over(images, masks, torch.cat([_soft(some) for some in fills.split(at_a_time(fills))])),
            "mixed same": _over(images, masks, fills[_of_same(groups, order)]),
            "mixed random": _over(images, masks, fills[_of_others(groups, there, order, generator)]),
        }
        return {kind: torch.where(there.view(-1, 1, 1, 1), made[kind], images) for kind in KINDS}


@torch.no_grad()
def filled(images: Tensor, masks: Tensor) -> Tensor:
    """uint8 images with their foreground, rim and soft edge included, filled from the background around it; the rest stays."""
    size = at_a_time(images)
    return torch.cat([_filled(some, mask) for some, mask in zip(images.split(size), masks.split(size), strict=True)])


def _filled(images: Tensor, masks: Tensor) -> Tensor:
    """Blurs of the background alone (normalised by how much of it they saw), a narrow one laid over a wider where it saw enough."""
    reach = max(1, round(RIM * max(images.shape[-2:])))
    hidden = F.max_pool2d((masks > 0).float(), 2 * reach + 1, stride=1, padding=reach) > 0
    weights = torch.where(hidden, LITTLE * (1 - masks), 1)
    known = torch.cat([images * weights, weights], dim=1)
    mean = known.mean((2, 3), keepdim=True)
    fill = (mean[:, :3] / mean[:, 3:].clamp(min=1e-12)).expand(images.shape)
    for width in WIDTHS:
        seen = _blurred(known, width)
        fill = fill.lerp(seen[:, :3] / seen[:, 3:].clamp(min=1e-12), (seen[:, 3:] / ENOUGH).clamp_(max=1))
    return torch.where(hidden, fill.round().clamp_(0, 255).byte(), images)


def _soft(images: Tensor) -> Tensor:
    return _blurred(images.float(), BLURRED).round_().clamp_(0, 255).byte()


def _blurred(maps: Tensor, deviation: float) -> Tensor:
    """One Gaussian blur for all, its deviation in sides; what lies beyond the border is left out of the mean."""
    rows, columns = (_blur(side, deviation, maps.device) for side in maps.shape[-2:])
    return rows @ maps @ columns.T


def _blur(side: int, deviation: float, device: torch.device) -> Tensor:
    pixel = torch.arange(side, device=device) / (side * deviation)
    weights = torch.exp(-0.5 * (pixel[:, None] - pixel) ** 2)
    return weights / weights.sum(1, keepdim=True)


def _over(images: Tensor, masks: Tensor, grounds: Tensor) -> Tensor:
    """The foregrounds over these grounds: exactly the image where its mask is 1, exactly the ground where it is 0."""
    size = at_a_time(images)
    parts = zip(images.split(size), masks.split(size), grounds.split(size), strict=True)
    return torch.cat([ground.float().lerp_(image.float(), mask).round_().byte() for image, mask, ground in parts])


def _by_group(groups: Tensor, generator: torch.Generator) -> Tensor:
    """The images group by group, in random order within each."""
    order = torch.randperm(len(groups), generator=generator, device=groups.device)
    return order[groups[order].argsort(stable=True)]


def _spans(groups: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """For each place in the order, where its group begins and where the next one does."""
    ordered = groups[order]
    return torch.searchsorted(ordered, ordered), torch.searchsorted(ordered, ordered, right=True)


def _of_same(groups: Tensor, order: Tensor) -> Tensor:
    """For each image the next of its group, round and round: nobody's own unless it is alone, and each once."""
    first, end = _spans(groups, order)
    place = torch.arange(len(order), device=order.device)
    following = first + (place - first + 1) % (end - first)
    return torch.empty_like(order).scatter_(0, order, order[following])


def _of_others(groups: Tensor, there: Tensor, order: Tensor, generator: torch.Generator) -> Tensor:
    """For each image that is there one of another group that is there, each once; chance alone says which.

    Half a round further in the order stands nobody of one's own group, unless that is more than half of all. From there random pairs
    exchange donors as long as both may. Who is left with its own group, in such a large one, draws any of the others."""
    count, device = len(order), order.device
    total = there.sum()
    place = torch.arange(count, device=device)
    across = torch.where(place < total, (place + total // 2) % total.clamp(min=1), place)
    donors = torch.empty_like(order).scatter_(0, order, order[across])
    for _ in range(SWAPS):
        one, two = torch.randperm(count, generator=generator, device=device)[: count // 2 * 2].view(2, -1)
        to_one, to_two = donors[one], donors[two]
        allowed = there[one] & there[two] & (groups[to_two] != groups[one]) & (groups[to_one] != groups[two])
        donors[one], donors[two] = torch.where(allowed, to_two, to_one), torch.where(allowed, to_one, to_two)
    first, end = _spans(groups, order)
    others = (total - (end - first)).clamp(min=1)
    steps = (torch.rand(count, generator=generator, device=device) * others).long()
    any_other = order[(end + torch.minimum(steps, others - 1)) % total.clamp(min=1)]
    any_other = torch.empty_like(order).scatter_(0, order, any_other)
    return torch.where(there & (groups[donors] == groups), any_other, donors)


def _checked(images: Tensor, labels: Tensor, masks: Tensor, generator: torch.Generator) -> Tensor:
    """The labels as a tensor beside the images, once all fit together."""
    check(images, generator)
    count, _, height, width = images.shape
    if not masks.is_floating_point() or masks.shape != (count, 1, height, width):
        raise UserError(f"Masks are float [{count}, 1, {height}, {width}] in [0, 1] here; got {masks.dtype} {list(masks.shape)}.")
    if masks.device != images.device:
        raise UserError(f"Images on {images.device}, masks on {masks.device}: bring both to one device.")
    labels = torch.as_tensor(labels, device=images.device).long()
    if labels.shape != (count,):
        raise UserError(f"{count} images need as many labels, [{count}]; got {list(labels.shape)}.")
    return labels


def _two_classes(labels: Tensor, there: Tensor) -> None:
    """An error where no background of another class is to be had: the one answer that is waited for, once a set."""
    lowest = torch.where(there, labels, labels.max()).amin()
    highest = torch.where(there, labels, labels.min()).amax()
    if bool(there.any() & (lowest == highest)):
        raise UserError(
            f"Of {len(labels)} images all that have a foreground and a background are of class {int(lowest)}; 'mixed random' takes "
            "backgrounds of other classes. Give a whole set, with images of two classes at least."
        )
