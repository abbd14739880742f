"""Group normalisation and residual sums of frames whose channels lie innermost in memory.

On a CUDA device with Triton (which torch brings along there) by the kernels of `vdmini.kernels`, elsewhere by torch's
own operators, which they are tested against.

Legend: R frames of all clips, C channels, H height, W width, S frames that are normalised together.
"""

import logging
from functools import cache
from importlib.util import find_spec
from subprocess import SubprocessError
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional

log = logging.getLogger(__name__)


def group_norm(
    x_RCHW: Tensor, norm: nn.GroupNorm, *, frames: int = 1, shift: Tensor | None = None, silu: bool
) -> Tensor:
    """Normalise `x + shift` in groups of channels.

    Args:
        x_RCHW: any float dtype; fastest with channels innermost.
        norm: groups, weight, bias and eps.
        frames: S, how many neighbouring frames share their statistics; 1 is image models' norm.
        shift: added first, [1, C] or [R, C]: the bias of the convolution before and what time embeddings add.
        silu: whether SiLU follows.

    Returns:
        Of the shape and dtype of `x_RCHW`, channels innermost.
    """
    x = x_RCHW.contiguous(memory_format=torch.channels_last)
    if kernels := _kernels_for(x):
        rows = x.permute(0, 2, 3, 1).flatten(1, 2)
        made = kernels.group_norm(rows, frames, norm.num_groups, norm.weight, norm.bias, norm.eps, shift, silu=silu)
        return _as_frames(made, x)
    if shift is not None:
        x = x + shift[:, :, None, None]
    clips = x if frames == 1 else x.unflatten(0, (-1, frames)).transpose(1, 2)
    made = functional.group_norm(clips, norm.num_groups, norm.weight, norm.bias, norm.eps)
    if frames > 1:
        made = made.transpose(1, 2).flatten(0, 1)
    return functional.silu(made) if silu else made


def add_branch(x_RCHW: Tensor, branch_RCHW: Tensor, bias_C: Tensor, share: Tensor | None = None) -> Tensor:
    """Return `x + (branch + bias) * share`.

    Args:
        x_RCHW: what goes past the branch.
        branch_RCHW: the branch's result without the bias of its last convolution.
        bias_C: that bias.
        share: of the branch, [1] or [R]; all of it by default.
    """
    if kernels := _kernels_for(x_RCHW):
        x, branch = (
            one.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).flatten(1, 2)
            for one in (x_RCHW, branch_RCHW)
        )
        made = kernels.add_branch(x, branch, bias_C, share)
        return _as_frames(made, x_RCHW)
    branch = branch_RCHW + bias_C[:, None, None]
    return x_RCHW + (branch if share is None else branch * share.to(branch.dtype)[:, None, None, None])


def gated_gelu(x_MD: Tensor) -> Tensor:
    """Return the first half of the last dimension times GELU of the second: [..., D / 2] for [..., D]."""
    if kernels := _kernels_for(x_MD):
        made: Tensor = kernels.gated_gelu(x_MD.reshape(-1, x_MD.shape[-1]))
        return made.view(*x_MD.shape[:-1], -1)
    value, gate = x_MD.chunk(2, dim=-1)
    return value * functional.gelu(gate)


def _as_frames(rows_RPC: Tensor, like_RCHW: Tensor) -> Tensor:
    return rows_RPC.view(len(like_RCHW), *like_RCHW.shape[2:], -1).permute(0, 3, 1, 2)


@cache
def _kernels(device: torch.device) -> ModuleType | None:
    """The kernels, if Triton can build them for a device: it needs a C compiler, which small images lack."""
    if device.type != "cuda" or find_spec("triton") is None:
        return None
    try:
        from vdmini import kernels  # torch brings Triton along only where there may be GPUs

        kernels.gated_gelu(torch.zeros(1, 2, device=device))
    except (ImportError, OSError, RuntimeError, SubprocessError) as error:
        log.warning("Triton can't build kernels (%s); torch's own run, and take longer. Install a C compiler", error)
        return None
    return kernels


def _kernels_for(x: Tensor) -> ModuleType | None:
    """None where gradients may be asked for: the kernels have none."""
    return None if torch.is_grad_enabled() else _kernels(x.device)
