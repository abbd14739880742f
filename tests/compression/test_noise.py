"""Noise levels and batches follow the papers' formulas."""

import math

import pytest
import torch
from diffusers import EulerDiscreteScheduler, LCMScheduler

from vdmini_compress import consistency
from vdmini_compress.image_batch import SIGMA_MAX, ImageBatch
from vdmini_compress.noise import draw_levels, karras_sigmas, log_normal_shares
from vdmini_compress.text_batch import NoiseSchedule, TextBatch
from vdmini_compress.training import generator_for

B, F, C, S = 3, 4, 2, 3


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator_for(seed, 0))


def test_karras_sigmas_of_four_are_those_that_sf_v_trains_on() -> None:
    assert [float(s) for s in karras_sigmas(4)[:3]] == pytest.approx([700, 70.5, 2.27], rel=0.01)
    euler = EulerDiscreteScheduler(use_karras_sigmas=True, sigma_min=0.002, sigma_max=700.0)
    expected = euler._convert_to_karras(torch.tensor([0.002, 700.0]), 25)
    assert torch.allclose(karras_sigmas(25), torch.as_tensor(expected).float(), rtol=1e-4)


def test_log_normal_shares_are_the_mass_between_neighbours() -> None:
    sigmas = karras_sigmas(50)
    shares = log_normal_shares(sigmas)
    assert float(shares.sum()) == pytest.approx(1)

    def below(sigma: float) -> float:
        return 0.5 * (1 + math.erf((math.log(sigma) + 1) / math.sqrt(2)))

    whole = below(float(sigmas[0])) - below(float(sigmas[-1]))
    for i in (10, 30, 48):
        mass = below(float(sigmas[i])) - below(float(sigmas[i + 1]))
        assert float(shares[i]) == pytest.approx(mass / whole, abs=1e-6)
    drawn = sigmas[draw_levels(log_normal_shares(karras_sigmas(1000)), 4000, generator_for(1, 0)) // 20]
    assert float(drawn.min()) > 0.001


def test_drawn_levels_have_the_log_normal_mean_and_spread() -> None:
    sigmas = karras_sigmas(1000)
    logs = sigmas[draw_levels(log_normal_shares(sigmas), 20_000, generator_for(1, 0))].log()
    assert float(logs.mean()) == pytest.approx(-1, abs=0.05)
    assert float(logs.std()) == pytest.approx(1, abs=0.05)


def image_cache() -> dict[str, torch.Tensor]:
    return {
        "latents_NFCHW": draw(5, F, C, S, S),
        "image_latents_NCHW": draw(5, C, S, S),
        "image_embeds_ND": draw(5, 6),
        "motion_bucket_id_N": torch.arange(5),
    }


def test_denoising_follows_edm_preconditioning() -> None:
    batch = ImageBatch.draw(image_cache(), torch.arange(B), generator_for(0, 1), sigmas=(0.5, 70.0, 700.0))
    output = draw(B, F, C, S, S, seed=3)
    for b in range(B):
        sigma = float(batch.sigma_B[b])
        c_skip, c_out = 1 / (sigma**2 + 1), -sigma / (sigma**2 + 1) ** 0.5
        expected = c_skip * batch.noisy_BFCHW[b] + c_out * output[b]
        assert torch.allclose(batch.denoised(output)[b], expected, rtol=1e-4, atol=1e-5)
    assert SIGMA_MAX == 700


def test_a_discriminators_two_clips_are_noised_alike() -> None:
    batch = ImageBatch.draw(image_cache(), torch.arange(B), generator_for(0, 1))
    one, other = draw(B, F, C, S, S), draw(B, F, C, S, S, seed=4)
    first, second = batch.renoised([one, other], generator_for(5, 0))
    assert torch.equal(first.sigma_B, second.sigma_B)
    assert torch.allclose(first.noisy_BFCHW - one, second.noisy_BFCHW - other, atol=1e-5)
    assert float(first.sigma_B.max()) < 60


def text_batch(prediction_type: str, timestep: torch.Tensor) -> TextBatch:
    scheduler = LCMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction_type
    )
    cache = {
        "latents_NFCHW": draw(B, F, C, S, S),
        "weight_NFHW": torch.ones(B, F, S, S),
        "fps_N": torch.tensor([8.0] * B),
        "tokens_NL": torch.zeros(B, 7, dtype=torch.long),
        "features_NLD": draw(B, 7, 6),
    }
    schedule = NoiseSchedule.of(scheduler)
    return TextBatch.draw(schedule, cache, torch.arange(B), timestep, lambda *_: None, generator_for(0, 2))


@pytest.mark.parametrize("prediction_type", ["epsilon", "sample", "v_prediction"])
def test_the_right_output_of_each_prediction_type_denoises_to_the_clip(prediction_type: str) -> None:
    batch = text_batch(prediction_type, torch.tensor([249, 749, 999]))
    signal, sigma = batch.schedule.levels(batch.timestep_B)
    right = {
        "epsilon": batch.noise_BFCHW,
        "sample": batch.target_BFCHW,
        "v_prediction": signal * batch.noise_BFCHW - sigma * batch.target_BFCHW,
    }
    assert torch.allclose(batch.denoised(right[prediction_type]), batch.target_BFCHW, atol=1e-3)


def test_an_unknown_prediction_type_is_refused_by_name() -> None:
    scheduler = LCMScheduler()
    scheduler.register_to_config(prediction_type="score")
    with pytest.raises(ValueError, match="predicts 'score'; known are epsilon, sample, v_prediction"):
        NoiseSchedule.of(scheduler)


def test_a_solver_step_with_the_right_answer_stays_on_the_path_of_its_noise() -> None:
    batch = text_batch("sample", torch.tensor([999, 499, 3]))
    lower = consistency.solver_step(batch, batch.target_BFCHW)
    assert lower.timestep_B.tolist() == [994, 494, 0]
    expected = batch.schedule.noised(batch.target_BFCHW, batch.noise_BFCHW, lower.timestep_B)
    assert torch.allclose(lower.noisy_BFCHW, expected, atol=1e-4)


def test_boundary_scalings_are_those_of_diffusers_sampler() -> None:
    scheduler = LCMScheduler()
    for timestep in (0, 4, 249, 999):
        expected = scheduler.get_scalings_for_boundary_condition_discrete(timestep)
        made = consistency.boundary_scalings(torch.tensor([timestep]))
        assert [float(x) for x in made] == pytest.approx([float(x) for x in expected], rel=1e-5, abs=1e-8)
    at_zero = text_batch("sample", torch.zeros(B, dtype=torch.long))
    assert torch.allclose(consistency.consistency_function(at_zero, draw(B, F, C, S, S, seed=9)), at_zero.noisy_BFCHW)
