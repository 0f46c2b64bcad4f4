"""Convolutions whose output is a handful of pixels, as one matrix product.

The last stages of a ResNet on small images give maps of 4 x 4 and less. There the CPU's convolution kernels leave its matrix unit idle,
the gradient of the weights most of all: it takes six times as long as the forward pass does. Laid out in columns (each output pixel's
inputs in a row), the same sums are products of large matrices. On larger maps laying out costs more than it saves. In fp32, 2 x 2 is the
most that gains: half the time of torch's own at 256 channels, which multiplies all the zeros beyond the border.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helpers.core.devices import good_at_bf16, processor

PIXELS = 16  # of the output: up to here the weights' gradient is a product of columns, in bf16
FEW_PIXELS = 4  # up to here everything is, in fp32 as well
WIDE = 400**2  # in times out channels from which everything is too


def eligible(layer: nn.Conv2d) -> bool:
    """Whether a layer is of the kind that gains: a whole kernel, no groups, enough channels to fill a matrix unit."""
    square = layer.kernel_size[0] == layer.kernel_size[1] > 1 and layer.stride[0] == layer.stride[1]
    padded = layer.padding_mode == "zeros" and layer.padding == (layer.kernel_size[0] // 2,) * 2
    return square and padded and layer.groups == 1 and layer.dilation == (1, 1) and layer.in_channels >= 32 and layer.bias is None


def gain() -> bool:
    """Whether this CPU gains: with a matrix unit, in fp32, and in bf16 where vectors are as wide as AMD has them since Zen 5 (0.5 to
    0.6 of torch's time on 2 x 2 maps of 384 channels). On an AMD without that, torch's kernels were measured to be faster by a tenth."""
    return torch.cpu._is_amx_tile_supported() or not good_at_bf16("cpu") or "avx512_vp2intersect" in processor("flags").split()


class SmallMapConv(nn.Conv2d):
    """A convolution that takes the columns' way where its output is small, and torch's own elsewhere."""

    def forward(self, images: Tensor) -> Tensor:
        height, width = (-(-side // self.stride[0]) for side in images.shape[-2:])
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else images.dtype
        compiled = torch.compiler.is_compiling()  # which lays tensors out as it likes, and columns are read by their place in memory
        if compiled or height * width > (FEW_PIXELS if dtype == torch.float32 else PIXELS):
            return super().forward(images)
        return _Columns.apply(images.to(dtype, memory_format=torch.channels_last), self.weight.to(dtype), self.stride[0])


class _Columns(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images: Tensor, weight: Tensor, stride: int) -> Tensor:
        side = weight.shape[-1]
        height, width = (-(-each // stride) for each in images.shape[-2:])
        ctx.save_for_backward(images, weight)
        ctx.stride = stride
        ctx.wholly = height * width <= FEW_PIXELS or weight.shape[0] * weight.shape[1] >= WIDE
        if not ctx.wholly:
            return F.conv2d(images, weight, None, stride, side // 2)
        return _product(_columns(images, side, stride), weight, height, width)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        images, weight = ctx.saved_tensors
        out, _, side, _ = weight.shape
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        rows = gradient.permute(0, 2, 3, 1).reshape(-1, out)
        for_weight = rows.t() @ _columns(images, side, ctx.stride)
        for_weight = for_weight.view(out, side, side, -1).permute(0, 3, 1, 2)
        if not ctx.needs_input_grad[0]:
            return None, for_weight, None
        if not ctx.wholly:
            half, step = [side // 2] * 2, [ctx.stride] * 2
            given = (gradient, images, weight, None, step, half, [1, 1], False, [0, 0], 1, [True, False, False])
            return torch.ops.aten.convolution_backward(*given)[0], for_weight, None
        if ctx.stride == 1:  # the convolution turned round
            turned = weight.transpose(0, 1).flip(2, 3)
            return _product(_columns(gradient, side, 1), turned, *images.shape[-2:]), for_weight, None
        return _scattered(rows @ weight.permute(0, 2, 3, 1).reshape(out, -1), gradient, images, side, ctx.stride), for_weight, None


def _columns(images: Tensor, side: int, stride: int) -> Tensor:
    """[N * h * w, side * side * C]: what each output pixel sees, zero beyond the border. images: [N, C, H, W], channels last."""
    count, channels = images.shape[:2]
    height, width = (-(-each // stride) for each in images.shape[-2:])
    half = side // 2
    padded = F.pad(images.permute(0, 2, 3, 1), (0, 0, half, half, half, half))
    image, row, pixel, channel = padded.stride()
    seen = padded.as_strided((count, height, width, side, side, channels), (image, stride * row, stride * pixel, row, pixel, channel))
    return seen.reshape(count * height * width, -1)


def _product(columns: Tensor, weight: Tensor, height: int, width: int) -> Tensor:
    """Columns times a kernel [out, in, k, k], as a map [N, out, height, width], channels last."""
    made = columns @ weight.permute(0, 2, 3, 1).reshape(len(weight), -1).t()
    return made.view(-1, height, width, len(weight)).permute(0, 3, 1, 2)


def _scattered(columns: Tensor, gradient: Tensor, images: Tensor, side: int, stride: int) -> Tensor:
    """The way back from columns: what each output pixel sends to the inputs that it saw, added up."""
    count, channels, rows, pixels = images.shape
    height, width = gradient.shape[-2:]
    half = side // 2
    padded = images.new_zeros(count, rows + 2 * half, pixels + 2 * half, channels)
    columns = columns.view(count, height, width, side, side, channels)
    for down in range(side):
        for right in range(side):
            padded[:, down : down + stride * height : stride, right : right + stride * width : stride] += columns[:, :, :, down, right]
    return padded[:, half : half + rows, half : half + pixels].permute(0, 3, 1, 2)
