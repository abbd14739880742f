"""Two lessons that let a small text-to-video model learn motion from captions within minutes.

In the small world a caption's direction shows only as a product of word, time and place. Fitted to clips alone, a
fresh model finds colours and shapes at once and stays for long at the mean over all directions. The big
teachers don't face that: their text encoder has learned to read long before. So the small one learns to read first,
and while the U-Net trains, its deep stages have to say where the sprite is.

Legend: B clips, F frames, L tokens.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextModel

from vdmini_compress.training import generator_for
from vdmini_compress.world import captions
from vdmini_compress.world.shapes import COLOURS, DIRECTIONS, SHAPES

READING_STEPS = 400
READING_BATCH = 32
READING_RATE = 3e-3

ATTRIBUTES = {
    "colour": list(COLOURS),
    "shape": list(SHAPES),
    "direction": list(DIRECTIONS),
    "speed": list(captions.SPEEDS),
    "background": list(captions.BACKGROUNDS),
}

READOUT_STAGES = ("down_blocks.2", "mid_block", "up_blocks.0", "up_blocks.1", "up_blocks.2")
PIXELS_PER_UNIT = 8.0


def learn_to_read(
    text_encoder: CLIPTextModel, scenes: list[captions.Scene], tokens_BL: Tensor, end_token: int, seed: int
) -> float:
    """Train a text encoder to tell every attribute of a caption at its end token and at the padding after it.

    Args:
        text_encoder: trained in place.
        scenes: what the captions say.
        tokens_BL: token ids of the scenes' captions.
        end_token: id of the token that ends a caption, which also pads it.
        seed: of the batches; the readout's weights come from torch's global generator.

    Returns:
        The last batch's cross-entropy, summed over attributes, in nats.
    """
    right = [torch.tensor([names.index(getattr(s, kind)) for s in scenes]) for kind, names in ATTRIBUTES.items()]
    sizes = [len(names) for names in ATTRIBUTES.values()]
    readout = nn.Linear(text_encoder.config.hidden_size, sum(sizes))
    optimizer = torch.optim.AdamW([*text_encoder.parameters(), *readout.parameters()], READING_RATE)
    for step in range(READING_STEPS):
        index = torch.randint(len(scenes), (READING_BATCH,), generator=generator_for(seed, step))
        ended = tokens_BL[index] == end_token
        rows = ended.nonzero()[:, 0]
        said = readout(text_encoder(tokens_BL[index]).last_hidden_state[ended]).split(sizes, dim=1)
        loss = torch.stack([F.cross_entropy(s, r[index][rows]) for s, r in zip(said, right, strict=True)]).sum()
        for group in optimizer.param_groups:
            group["lr"] = READING_RATE * (1 - step / READING_STEPS)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()


class PathReadout(nn.Module):
    """Linear readouts of the sprite's place from the means of deep features; they are thrown away after training.

    Args:
        channels: stage -> channels of its features.
    """

    def __init__(self, channels: dict[str, int]) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(
            {stage.replace(".", "_"): nn.Sequential(nn.LayerNorm(c), nn.Linear(c, 2)) for stage, c in channels.items()}
        )

    def loss(self, features: dict[str, Tensor], path_BF2: Tensor) -> Tensor:
        """Squared error of the places read, summed over stages.

        Args:
            features: stage -> features [B*F, C, H, W].
            path_BF2: the sprite's centre (x, y) relative to the picture's middle, in pixels.

        Returns:
            A scalar, in units of (8 pixels) squared.
        """
        place = path_BF2.flatten(0, 1) / PIXELS_PER_UNIT
        terms = [
            F.mse_loss(self.heads[stage.replace(".", "_")](made.float().mean(dim=(2, 3))), place)
            for stage, made in features.items()
        ]
        return torch.stack(terms).sum()
