"""The lesson that lets a small text-to-video model learn motion from captions within minutes.

In the small world a caption's direction shows only as a product of word, time and place. Fitted to clips alone, a
fresh model finds colours and shapes at once and stays for long at the mean over all directions. The big
teachers don't face that: their text encoder has learned to read long before. So the small one learns to read first.

Legend: B clips, L tokens.
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
