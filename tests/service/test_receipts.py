"""Receipts: what a worker publishes of how a model was made, and what the API tells of it."""

import json

import pytest
from redis import Redis

from vdmini_serve.contract.receipt import MOST_BYTES, Receipt, UNetShape, bounded
from vdmini_serve.contract.settings import Settings
from vdmini_serve.worker.receipt import read_receipt, receipts_of, teacher_pairs
from vdmini_serve.worker.store import WorkerStore


def test_every_small_model_has_a_receipt_with_its_unet(artifact_folders):
    found = {each.name: each for each in receipts_of(artifact_folders)}
    assert len(found) == len(artifact_folders)
    assert all(each.unet is not None and each.unet.pairs == (2, 2, 2, 2) for each in found.values())
    student = found["small-i2v-vdmini"]
    assert student.recipe["plan"] == "latency=0.7"
    assert "vae/config.json" in student.files
    assert found["small-i2v-teacher"].importance is None


@pytest.mark.parametrize("task", ["i2v", "t2v"])
def test_the_importance_in_an_artifact_is_what_its_recipe_was_given(root, task):
    receipt = read_receipt(root / "compression" / "artifacts" / f"small-{task}")
    measured = json.loads((root / "benchmarks" / "results" / receipt.recipe["importance"]).read_text())
    assert receipt.importance is not None
    assert [each.content_lost for each in receipt.importance.blocks] == [
        each["content_lost"] for each in measured["blocks"]
    ]


def test_a_student_of_stock_diffusers_gets_its_removed_pairs_back():
    config = {"block_out_channels": [8, 8], "layers_per_block": [1, 2]}
    assert teacher_pairs(config, ("down_blocks.0.resnets.1", "up_blocks.1.resnets.1")) == (2, 2)
    assert teacher_pairs({**config, "removed_blocks": ["mid_block"]}, ("mid_block",)) == (1, 2)


def test_an_artifact_without_a_readable_unet_or_importance_has_a_receipt_all_the_same(artifact_folders, tmp_path):
    (tmp_path / "unet").mkdir()
    (tmp_path / "vdmini.json").write_bytes((artifact_folders[0] / "vdmini.json").read_bytes())
    (tmp_path / "unet" / "config.json").write_text('{"layers_per_block": 2}')
    (tmp_path / "importance.json").write_text("{}")
    receipt = read_receipt(tmp_path)
    assert (receipt.unet, receipt.importance) == (None, None)
    assert receipts_of([tmp_path / "gone", tmp_path]) == [receipt]


def test_a_receipt_that_is_too_long_says_what_it_leaves_out():
    long = Receipt(name="m", recipe={"plan": "paper"}, training={"log": "x" * MOST_BYTES}, files={"a": "b"})
    short = bounded(long)
    assert (short.left_out, short.training, short.recipe) == (("files", "training"), {}, {"plan": "paper"})
    assert len(short.model_dump_json()) < MOST_BYTES
    assert bounded(short) == short


def test_the_api_tells_what_was_published_and_reads_what_is_older_or_newer(serve_api, redis_url, artifact_folders):
    client = serve_api()
    bare = client.get("/v1/models/small-i2v-vdmini/receipt").json()
    assert (bare["unet"], bare["importance"], bare["recipe"], bare["measured_here"]) == (None, None, {}, [])
    with Redis.from_url(redis_url) as redis:
        store = WorkerStore(redis, Settings(jobs_url=redis_url), "w")
        store.publish_receipts(receipts_of(artifact_folders))
        redis.hset("vdmini:receipts", "small-t2v-vdmini", '{"name": "small-t2v-vdmini", "of a later version": 1}')
    told = client.get("/v1/models/small-i2v-vdmini/receipt").json()
    assert told["unet"] == UNetShape(widths=(64, 32, 32, 32), pairs=(2, 2, 2, 2)).model_dump(mode="json")
    assert len(told["importance"]["blocks"]) == 30
    assert client.get("/v1/models/small-t2v-vdmini/receipt").json()["unet"] is None
    assert client.get("/v1/models/gold/receipt").status_code == 404
