"""The image encoder of the small image-to-video teacher says what it sees."""

from pathlib import Path

import torch
from transformers import CLIPVisionModelWithProjection

from vdmini_compress.teachers.image_to_video import IMAGE_EMBED_DIM, build_image_encoder, embed
from vdmini_compress.teachers.seeing import Eye
from vdmini_compress.training import Run, Schedule, generator_for
from vdmini_compress.world import clips
from vdmini_compress.world.shapes import SHAPES


def test_an_eye_learns_to_name_colours_within_seconds(tmp_path: Path) -> None:
    torch.manual_seed(0)
    eye = Eye(build_image_encoder(), IMAGE_EMBED_DIM, embed)
    before = eye.losses(generator_for(9, 0), 0)
    run = Run(tmp_path, eye, Schedule(steps=12, learning_rate=5e-3, warmup=2, ema_decay=0.5), report=lambda _: None)
    run.train(eye.losses)
    after = eye.losses(generator_for(9, 0), 0)
    assert set(after) == {"shape", "colour", "heading", "place"}
    assert sum(after.values()) < sum(before.values())
    assert after["colour"] < before["colour"]


@torch.no_grad()
def test_the_committed_encoders_embedding_tells_shapes_apart_and_a_drawn_ones_does_not(root: Path) -> None:
    torch.manual_seed(0)
    trained = CLIPVisionModelWithProjection.from_pretrained(
        root / "compression/teachers/small-i2v/image_encoder", torch_dtype=torch.float32
    )
    batch = clips.image_clips(320, 0, generator_for(77, 0), num_frames=1)
    share = {}
    for name, encoder in (("trained", trained), ("drawn", build_image_encoder())):
        seen = torch.cat([embed(encoder, part) for part in batch.frames_BF3HW[:, 0].split(64)])
        seen = torch.cat([seen, torch.ones(len(seen), 1)], dim=1)
        right = torch.nn.functional.one_hot(batch.sprites.shape_B, len(SHAPES)).float()
        readout = torch.linalg.lstsq(seen[:224], right[:224]).solution
        said = (seen[224:] @ readout).argmax(dim=1)
        share[name] = float((said == batch.sprites.shape_B[224:]).float().mean())
    assert share["trained"] > 0.6
    assert share["drawn"] < 0.5
