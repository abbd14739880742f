"""The small world has a right answer, and the measures know it."""

import pytest
import torch

from vdmini_compress.evaluate import held_out_scenes
from vdmini_compress.world import captions, clips, measure
from vdmini_compress.world.camera import MAX_ZOOM_PER_FRAME, zoom
from vdmini_compress.world.pictures import HELD_OUT_PHOTOS, TRAIN_PHOTOS
from vdmini_compress.world.shapes import COLOURS, DIRECTIONS, SHAPES


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_seed_gives_the_same_clips_and_another_gives_others() -> None:
    first, again, other = (clips.image_clips(3, 4, seeded(seed)).frames_BF3HW for seed in (1, 1, 2))
    assert first.shape == (7, 8, 3, 64, 64)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.min() >= 0
    assert first.max() <= 1


def test_a_sprite_moves_along_its_heading_at_the_speed_of_the_bucket() -> None:
    batch = clips.image_clips(32, 0, seeded())
    centre = batch.sprites.centre_BF2
    step = centre[:, 1] - centre[:, 0]
    speed = clips.MAX_PIXELS_PER_FRAME * batch.motion_bucket_id_B / 255
    assert torch.allclose(step.norm(dim=1), speed, atol=1e-3)
    found = measure.track(batch.frames_BF3HW, batch.background_B3HW)
    fast = speed > 1
    assert torch.equal(measure.directions(found)[fast], batch.sprites.heading_B[fast])


def test_a_sprite_stays_inside_the_picture() -> None:
    things = clips.image_clips(256, 0, seeded()).sprites
    edge = things.radius_B[:, None, None]
    assert bool((things.centre_BF2 >= edge).all())
    assert bool((things.centre_BF2 <= 64 - edge).all())


def test_the_camera_gets_nearer_by_the_bucket_and_a_bucket_of_zero_is_still() -> None:
    assert torch.allclose(zoom(torch.tensor([255]), 3)[0], (1 + MAX_ZOOM_PER_FRAME) ** torch.arange(3.0))
    assert torch.equal(zoom(torch.tensor([0]), 3)[0], torch.ones(3))


def test_held_out_photographs_and_captions_are_never_trained_on() -> None:
    assert not set(HELD_OUT_PHOTOS) & set(TRAIN_PHOTOS)
    held_out = [scene for scene in captions.all_scenes() if captions.is_held_out(scene)]
    share = len(held_out) / len(captions.all_scenes())
    assert 0.05 < share < 0.15
    assert all(captions.is_held_out(scene) for scene in held_out_scenes(40, seed=3))


def test_measures_give_the_right_answer_full_marks() -> None:
    scenes = held_out_scenes(64, seed=1)
    batch = clips.text_clips(scenes, torch.full((64,), 8.0))
    found = measure.track(batch.frames_BF3HW, batch.background_B3HW)
    names = [
        (measure.colours(batch.frames_BF3HW, found), list(COLOURS), "colour"),
        (measure.shapes(found, clips.TEXT_RADIUS), list(SHAPES), "shape"),
        (measure.directions(found), list(DIRECTIONS), "direction"),
    ]
    for answers, words, field in names:
        assert [words[answer] for answer in answers] == [getattr(scene, field) for scene in scenes]
    assert measure.trajectory_error(found, found).max() == 0
    assert measure.appearance_error(batch.frames_BF3HW, batch.frames_BF3HW, found, found).max() < 1e-6


def test_a_displaced_sprite_costs_motion_and_not_content() -> None:
    scene = captions.Scene("red", "square", "right", "slowly", "black")
    batch = clips.text_clips([scene], torch.tensor([8.0]))
    true = measure.track(batch.frames_BF3HW, batch.background_B3HW)
    sprite = batch.frames_BF3HW - batch.background_B3HW[:, None]
    moved = batch.background_B3HW[:, None] + sprite.roll(3, dims=-1)
    made = measure.track(moved, batch.background_B3HW)
    assert float(measure.trajectory_error(made, true)) == pytest.approx(3, abs=0.05)
    assert float(measure.appearance_error(moved, batch.frames_BF3HW, made, true)) < 0.02


def test_a_recoloured_sprite_costs_content_and_not_motion() -> None:
    here, there = (captions.Scene(c, "circle", "up", "quickly", "gray") for c in ("red", "blue"))
    red, blue = (clips.text_clips([s], torch.tensor([8.0])) for s in (here, there))
    true, made = (measure.track(b.frames_BF3HW, b.background_B3HW) for b in (red, blue))
    assert float(measure.trajectory_error(made, true)) < 0.2
    assert float(measure.appearance_error(blue.frames_BF3HW, red.frames_BF3HW, made, true)) > 0.3


def test_a_vanished_sprite_and_a_ghost_both_cost_motion() -> None:
    batch = clips.image_clips(8, 0, seeded(4))
    true = measure.track(batch.frames_BF3HW, batch.background_B3HW)
    empty = batch.background_B3HW[:, None].expand_as(batch.frames_BF3HW)
    assert float(measure.trajectory_error(measure.track(empty, batch.background_B3HW), true).min()) == 32
    still = batch.frames_BF3HW[:, :1].expand_as(batch.frames_BF3HW)
    fast = batch.motion_bucket_id_B > 128
    assert float(measure.trajectory_error(measure.track(still, batch.background_B3HW), true)[fast].min()) > 3
