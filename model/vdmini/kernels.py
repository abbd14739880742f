"""Group normalisation of frames with channels innermost, for CUDA devices, in three short kernels.

torch's own kernel gives each group of a clip to one block of threads, so that a decoder's temporal layers, 32 groups in
all, use a quarter of a GPU; and it wants channels outermost, so that frames are turned around before and after it.
These read the frames twice and write them once, whatever their shape (benchmarks/README.md tells the times).

Statistics are float32. Sums are of differences from each segment's first place, so nothing cancels where a mean is far
larger than the spread. Legend: N samples, S segments of each (frames, or 1), P places of a segment, C channels, G
groups.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

PLACES = 32
"""Places of a tile."""

MOST_BLOCKS = 256
"""Of a segment at most, so that adding them up stays short."""

WIDE = 1024
"""Elements that one program of an elementwise kernel works on."""


@triton.jit
def _sums(x, sums, places, channels, rows, blocks, PLACES: tl.constexpr, CHANNELS: tl.constexpr):
    """Sum and sum of squares of `rows` places of one segment, each channel for itself."""
    block, segment = tl.program_id(0), tl.program_id(1).to(tl.int64)
    channel = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    there = channel < channels
    base = x + segment * places * channels
    first = tl.load(base + channel, mask=there, other=0.0).to(tl.float32)
    total = tl.zeros((PLACES, CHANNELS), tl.float32)
    squares = tl.zeros((PLACES, CHANNELS), tl.float32)
    end = tl.minimum((block + 1) * rows, places)
    for start in range(block * rows, end, PLACES):
        place = start + tl.arange(0, PLACES)
        inside = (place < end)[:, None] & there[None, :]
        offset = place.to(tl.int64)[:, None] * channels + channel[None, :]
        value = tl.load(base + offset, mask=inside, other=0.0).to(tl.float32) - first[None, :]
        value = tl.where(inside, value, 0.0)
        total += value
        squares += value * value
    out = sums + (segment * blocks + block) * 2 * channels + channel
    tl.store(out, tl.sum(total, axis=0), mask=there)
    tl.store(out + channels, tl.sum(squares, axis=0), mask=there)


@triton.jit
def _affine(
    x, sums, shift, weight, bias, scale_out, shift_out, segments, places, channels, blocks, groups, eps,
    SHIFT_PER_SEGMENT: tl.constexpr, HAS_SHIFT: tl.constexpr, BLOCKS: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """What normalising one group of one sample comes down to: a factor and a summand for each channel and segment."""
    sample, group = tl.program_id(0).to(tl.int64), tl.program_id(1)
    size = channels // groups
    inner = tl.arange(0, SIZE)
    channel, there = group * size + inner, inner < size
    block = tl.arange(0, BLOCKS)
    inside = (block < blocks)[:, None] & there[None, :]
    mean = tl.zeros((1,), tl.float32)
    for index in range(segments):
        segment = sample * segments + index
        mean += tl.sum(
            _mean(x, sums, shift, segment, block, blocks, places, channels, channel, there, inside,
                  SHIFT_PER_SEGMENT, HAS_SHIFT)
        )  # fmt: skip
    mean = mean / (segments * size)
    variance = tl.zeros((1,), tl.float32)
    for index in range(segments):
        segment = sample * segments + index
        part = sums + (segment * blocks + block)[:, None] * 2 * channels + channel[None, :]
        total = tl.sum(tl.load(part, mask=inside, other=0.0), axis=0) / places
        squares = tl.sum(tl.load(part + channels, mask=inside, other=0.0), axis=0) / places
        own = _mean(x, sums, shift, segment, block, blocks, places, channels, channel, there, inside,
                    SHIFT_PER_SEGMENT, HAS_SHIFT)  # fmt: skip
        away = tl.where(there, own - mean, 0.0)
        variance += tl.sum(tl.maximum(squares - total * total, 0.0) + away * away)
    spread = 1.0 / tl.sqrt(variance / (segments * size) + eps)
    factor = tl.load(weight + channel, mask=there, other=0.0).to(tl.float32) * spread
    summand = tl.load(bias + channel, mask=there, other=0.0).to(tl.float32) - mean * factor
    for index in range(segments):
        segment = sample * segments + index
        moved = summand
        if HAS_SHIFT:
            row = segment if SHIFT_PER_SEGMENT else 0
            moved += tl.load(shift + row * channels + channel, mask=there, other=0.0).to(tl.float32) * factor
        tl.store(scale_out + segment * channels + channel, factor, mask=there)
        tl.store(shift_out + segment * channels + channel, moved, mask=there)


@triton.jit
def _mean(
    x, sums, shift, segment, block, blocks, places, channels, channel, there, inside,
    SHIFT_PER_SEGMENT: tl.constexpr, HAS_SHIFT: tl.constexpr,
):  # fmt: skip
    """Of each channel of a group in one segment, the shift included."""
    part = sums + (segment * blocks + block)[:, None] * 2 * channels + channel[None, :]
    total = tl.sum(tl.load(part, mask=inside, other=0.0), axis=0) / places
    own = tl.load(x + segment * places * channels + channel, mask=there, other=0.0).to(tl.float32) + total
    if HAS_SHIFT:
        row = segment if SHIFT_PER_SEGMENT else 0
        own += tl.load(shift + row * channels + channel, mask=there, other=0.0).to(tl.float32)
    return tl.where(there, own, 0.0)


@triton.jit
def _apply(x, out, scale, shift, count, channels, WIDE: tl.constexpr, SILU: tl.constexpr):
    """X * scale + shift of one segment, through SiLU if asked."""
    segment = tl.program_id(1).to(tl.int64)
    index = tl.program_id(0).to(tl.int64) * WIDE + tl.arange(0, WIDE)
    inside, channel = index < count, index % channels
    value = tl.load(x + segment * count + index, mask=inside, other=0.0).to(tl.float32)
    value = value * tl.load(scale + segment * channels + channel, mask=inside, other=0.0)
    value += tl.load(shift + segment * channels + channel, mask=inside, other=0.0)
    if SILU:
        value = value / (1.0 + tl.exp(-value))
    tl.store(out + segment * count + index, value.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _add(
    x, branch, out, bias, share, count, channels,
    WIDE: tl.constexpr, SHARES: tl.constexpr, SHARE_PER_SEGMENT: tl.constexpr,
):  # fmt: skip
    """X + (branch + bias) * share of one segment."""
    segment = tl.program_id(1).to(tl.int64)
    index = tl.program_id(0).to(tl.int64) * WIDE + tl.arange(0, WIDE)
    inside, channel = index < count, index % channels
    value = tl.load(branch + segment * count + index, mask=inside, other=0.0).to(tl.float32)
    value += tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    if SHARES:
        value = value * tl.load(share + (segment if SHARE_PER_SEGMENT else 0)).to(tl.float32)
    value += tl.load(x + segment * count + index, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + segment * count + index, value.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _gate(x, out, width, WIDE: tl.constexpr):
    """One half of a row times GELU of the other."""
    row, column = tl.program_id(0).to(tl.int64), tl.program_id(1) * WIDE + tl.arange(0, WIDE)
    inside = column < width
    value = tl.load(x + row * 2 * width + column, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(x + row * 2 * width + width + column, mask=inside, other=0.0).to(tl.float32)
    value = value * (0.5 * gate * (1.0 + tl.math.erf(gate * 0.7071067811865476)))
    tl.store(out + row * width + column, value.to(out.dtype.element_ty), mask=inside)


def group_norm(
    x_SPC: Tensor,
    segments: int,
    groups: int,
    weight_C: Tensor,
    bias_C: Tensor,
    eps: float,
    shift: Tensor | None,
    *,
    silu: bool,
) -> Tensor:
    """See `vdmini.fused_operators.group_norm`, whose frames these are: contiguous [N S, P, C], S is `segments`."""
    rows, places, channels = x_SPC.shape
    wide = min(128, triton.next_power_of_2(channels))
    tiles = triton.cdiv(channels, wide)
    per_block = PLACES * triton.cdiv(triton.cdiv(places, MOST_BLOCKS), PLACES)
    blocks = triton.cdiv(places, per_block)
    sums = torch.empty(rows, blocks, 2, channels, dtype=torch.float32, device=x_SPC.device)
    _sums[(blocks, rows, tiles)](x_SPC, sums, places, channels, per_block, blocks, PLACES, wide)
    scale, moved = torch.empty(2, rows, channels, dtype=torch.float32, device=x_SPC.device)
    size = triton.next_power_of_2(channels // groups)
    _affine[(rows // segments, groups)](
        x_SPC, sums, shift if shift is not None else weight_C, weight_C, bias_C, scale, moved,
        segments, places, channels, blocks, groups, eps,
        shift is not None and len(shift) > 1, shift is not None, triton.next_power_of_2(blocks), size,
    )  # fmt: skip
    made, count = torch.empty_like(x_SPC), places * channels
    _apply[(triton.cdiv(count, WIDE), rows)](x_SPC, made, scale, moved, count, channels, WIDE, silu)
    return made


def add_branch(x_SPC: Tensor, branch_SPC: Tensor, bias_C: Tensor, share: Tensor | None) -> Tensor:
    """See `vdmini.fused_operators.add_branch`; both are contiguous."""
    rows, places, channels = x_SPC.shape
    made, count = torch.empty_like(x_SPC), places * channels
    _add[(triton.cdiv(count, WIDE), rows)](
        x_SPC, branch_SPC, made, bias_C, share if share is not None else bias_C, count, channels,
        WIDE, share is not None, share is not None and share.numel() > 1,
    )  # fmt: skip
    return made


def gated_gelu(x_MD: Tensor) -> Tensor:
    """See `vdmini.fused_operators.gated_gelu`; contiguous."""
    rows, width = x_MD.shape[0], x_MD.shape[1] // 2
    made = torch.empty(rows, width, dtype=x_MD.dtype, device=x_MD.device)
    _gate[(rows, triton.cdiv(width, WIDE))](x_MD, made, width, WIDE)
    return made
