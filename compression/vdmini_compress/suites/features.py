"""Features for Fréchet distances: of clips by a user's I3D network, of frames by the model's own frozen encoder.

Legend: N clips, F frames, C latent channels, P latent pixels, D features, H height, W width, values 0..1.
"""

import warnings
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vdmini.engine import Engine

I3D_OPTIONS = ("rescale", "resize", "return_features")
"""Keywords of the network's call; all are given as true."""

WHERE_FROM = (
    "FVD needs i3d_torchscript.pt, the I3D network trained on Kinetics-400 that StyleGAN-V made public "
    "(https://www.dropbox.com/s/ge9e5ujwgetktms/i3d_torchscript.pt, see github.com/universome/fvd-comparison); "
    "give that file, or none to go without FVD"
)

Features = NDArray[np.float64]


class FeatureNetwork(Protocol):
    """Makes features of clips: [N, D] of whole clips, or [N, F, D] of their frames."""

    def __call__(self, clips_NF3HW: Tensor) -> Features:
        """Features, float64, of clips in 0..1."""
        ...


class I3D:
    """The video network behind published FVD numbers (arXiv 1705.07750, 1812.01717), from a TorchScript file.

    It is called as StyleGAN-V calls it, `network(video_BCTHW, rescale=True, resize=True, return_features=True)` with
    colours in 0..255: the network itself maps them to -1..1, resizes to 224x224 and returns 400 logits per clip.

    Args:
        path: the file.
        device: where it runs.

    Raises:
        ValueError: when the file is missing or holds something else.
    """

    def __init__(self, path: Path, *, device: torch.device) -> None:
        self.path, self.device = path, device
        self.network = _loaded(path, device)

    @torch.inference_mode()
    def __call__(self, clips_NF3HW: Tensor) -> Features:
        """Features [N, D], float64, of clips in 0..1.

        Raises:
            ValueError: when the network refuses such clips or returns something else.
        """
        video_N3FHW = (clips_NF3HW.float() * 255).round().transpose(1, 2).contiguous().to(self.device)
        try:
            features = self.network(video_N3FHW, **dict.fromkeys(I3D_OPTIONS, True))
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, torch.jit.Error) as error:
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(
                f"{self.path} failed on clips of shape {tuple(clips_NF3HW.shape)}: {reason}; the public network needs "
                "about ten frames or more: give a model that makes as many, or leave FVD out"
            ) from error
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(clips_NF3HW):
            shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise ValueError(f"{self.path} returned {shape} for {len(clips_NF3HW)} clips, not [N, D]; {WHERE_FROM}")
        return features.double().cpu().numpy()


def _loaded(path: Path, device: torch.device) -> Any:
    if not path.is_file():
        raise ValueError(f"there is no file {path}; {WHERE_FROM}")
    try:
        with warnings.catch_warnings():
            # torch calls TorchScript deprecated, but the public network exists as nothing else
            warnings.simplefilter("ignore", DeprecationWarning)
            network = torch.jit.load(path, map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is not a whole TorchScript file; {WHERE_FROM}") from error
    missing = [name for name in I3D_OPTIONS if name not in str(network.forward.schema)]
    if missing:
        raise ValueError(f"{path} holds a network that takes no {', '.join(missing)}; {WHERE_FROM}")
    return network


class LatentFrames:
    """What frames look like to the model's own VAE encoder, wherever things are in them.

    A frame's features are the means of its latent channels over all pixels and their covariances. Compression leaves
    the encoder as the teacher has it, so teacher and students are measured alike, and nothing has to be downloaded.
    Distances of different families are not comparable.

    Args:
        engine: the model.
    """

    def __init__(self, engine: Engine) -> None:
        self.vae, self.device, self.dtype = engine.pipeline.vae, engine.torch_device, engine.torch_dtype

    @torch.inference_mode()
    def __call__(self, clips_NF3HW: Tensor) -> Features:
        """Features [N, F, C + C (C + 1) / 2], float64, of clips in 0..1."""
        return np.stack([self._of_frames(clip_F3HW) for clip_F3HW in clips_NF3HW])

    def _of_frames(self, frames_F3HW: Tensor) -> Features:
        pixels = (frames_F3HW * 2 - 1).to(self.device, self.dtype)
        latents = self.vae.encode(pixels).latent_dist.mode().double() * self.vae.config.scaling_factor
        latents_FCP = latents.flatten(2)
        mean_FC1 = latents_FCP.mean(dim=2, keepdim=True)
        centred = latents_FCP - mean_FC1
        covariance_FCC = centred @ centred.transpose(1, 2) / latents_FCP.shape[2]
        upper = torch.triu_indices(*covariance_FCC.shape[1:])
        features: Features = torch.cat([mean_FC1[..., 0], covariance_FCC[:, upper[0], upper[1]]], dim=1).cpu().numpy()
        return features
