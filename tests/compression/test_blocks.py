"""Blocks that can be switched off: all of them, one at a time, and the U-Net is as before afterwards."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from vdmini.plan import PruningPlan
from vdmini.student import build_student
from vdmini.unet3d_fps import timestep_condition
from vdmini_compress.blocks import Block, blocks_of, switched_off
from vdmini_compress.teachers import image_to_video as i2v
from vdmini_compress.teachers import text_to_video as t2v

BUILDERS: dict[str, Callable[[], Any]] = {"i2v": i2v.build_unet, "t2v": t2v.build_unet}


@pytest.fixture(scope="module", params=["i2v", "t2v"])
def unet(request: pytest.FixtureRequest) -> Any:
    """A U-Net with weights drawn at random: trained starts silence every residual branch."""
    torch.manual_seed(3)
    built = BUILDERS[request.param]().eval()
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.08)
    return built


@torch.no_grad()
def run(unet: Any) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    wide = unet.config.in_channels

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    if hasattr(unet, "add_embedding"):
        made: Tensor = unet(noise(1, 3, wide, 8, 8), 1.0, noise(1, 1, 32), added_time_ids=noise(1, 3)).sample
        return made
    condition = timestep_condition(noise(1, t2v.GUIDANCE_DIM), torch.tensor([8.0]))
    text = noise(1, 4, unet.config.cross_attention_dim)
    filmed: Tensor = unet(noise(1, wide, 3, 8, 8), torch.tensor([500]), text, timestep_cond=condition).sample
    return filmed


def test_every_pair_every_stage_and_the_middle_is_a_block_once(unet: Any) -> None:
    blocks = blocks_of(unet)
    labels = [block.label for block in blocks]
    assert len(set(labels)) == len(labels)
    assert sum(block.kind == "pair" for block in blocks) == 4 * 2 + 4 * 3
    assert [block.label for block in blocks if block.kind == "temporal"] == [
        f"{side}{level} temporal" for side in "DU" for level in range(4)
    ]
    assert [block.position for block in blocks] == list(range(len(blocks)))
    assert labels[-1] == "innermost stage"


def test_a_block_that_is_off_changes_the_output_and_one_that_is_on_again_does_not(unet: Any) -> None:
    whole = run(unet)
    idle = []
    for block in blocks_of(unet):
        with switched_off(unet, block):
            if torch.equal(run(unet), whole):
                idle.append(block.label)
    assert idle == []
    assert torch.equal(run(unet), whole)


def test_it_is_on_again_after_an_error(unet: Any) -> None:
    whole, block = run(unet), blocks_of(unet)[0]
    with pytest.raises(RuntimeError, match="in the middle"), switched_off(unet, block):
        raise RuntimeError("in the middle")
    assert torch.equal(run(unet), whole)


def test_a_middle_that_is_off_is_a_middle_that_was_removed(unet: Any) -> None:
    middle = next(block for block in blocks_of(unet) if block.kind == "middle")
    without = build_student(unet, PruningPlan.of(["mid_block"]))
    with switched_off(unet, middle):
        assert torch.equal(run(unet), run(without))
    assert parameters(unet) - parameters(without) == middle.parameters


def test_frames_no_longer_see_each_other_when_all_temporal_parts_are_off() -> None:
    torch.manual_seed(0)
    unet = i2v.build_unet().eval()
    modules = tuple(module for block in blocks_of(unet) if block.kind == "temporal" for module in block.modules)
    blenders = [name for name, module in unet.mid_block.named_modules() if type(module).__name__ == "AlphaBlender"]
    middle = (f"mid_block.{name}" for name in blenders)
    everything = Block("all", "all", "temporal", 0, (*modules, *middle), 0)
    sample = torch.randn(1, 3, unet.config.in_channels, 8, 8)
    changed = sample.clone()
    changed[:, 2] += 1
    arguments = (1.0, torch.randn(1, 1, 32))
    with torch.no_grad(), switched_off(unet, everything):
        one, other = (unet(x, *arguments, added_time_ids=torch.zeros(1, 3)).sample for x in (sample, changed))
    assert torch.equal(one[:, :2], other[:, :2])
    assert not torch.equal(one[:, 2], other[:, 2])


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
