"""Tells the original decoder's clips from the compressed one's, patch by patch, over space and time.

Legend: B clips, F frames, H height, W width, 3 colour channels, h and w patches.
"""

from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (24, 48, 96)
SLOPE = 0.2


class PatchDiscriminator(nn.Module):
    """Spatial convolutions that halve height and width, each followed by a temporal one that sees three frames.

    It has no norms: a norm over few small clips would tell it of the batch, and one with running means would need
    more than its parameters to resume.
    """

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *WIDTHS[:-1])
        self.spatial = nn.ModuleList(
            nn.Conv3d(into, out, (1, 4, 4), stride=(1, 2, 2), padding=(0, 1, 1))
            for into, out in zip(inputs, WIDTHS, strict=True)
        )
        self.temporal = nn.ModuleList(nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0)) for width in WIDTHS)
        self.logits = nn.Conv3d(WIDTHS[-1], 1, (1, 3, 3), padding=(0, 1, 1))

    def forward(self, clip_BF3HW: Tensor) -> Tensor:
        """Logits [B, F, h, w] of clips in -1..1; above 0 is original."""
        hidden = clip_BF3HW.transpose(1, 2)
        for spatial, temporal in zip(self.spatial, self.temporal, strict=True):
            hidden = F.leaky_relu(spatial(hidden), SLOPE)
            hidden = hidden + F.leaky_relu(temporal(hidden), SLOPE)
        logits: Tensor = self.logits(hidden)[:, 0]
        return logits
