"""What each switch of the runtime is worth on a full-size teacher of random weights, and which kernels take the time.

    python benchmarks/full_size_switches.py svd --output benchmarks/results/NAME.json

`--settings` are JSON objects, fields of `vdmini.switches.RuntimeSettings`; the plain runtime is beside each of them, in
turn. The record is written anew after every setting. `--width 64 --size 64 64 --frames 2 --device cpu` makes everything
narrow, so that a CPU runs it.
"""

import argparse
import json
import shlex
import sys
import time
from typing import Any

import torch
from full_size_clips import add_subject, copied, engine_of, subject
from provenance import provenance
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from vdmini.engine import Engine, pick_device, quiet_libraries
from vdmini.families import family_named
from vdmini.switches import RuntimeSettings
from vdmini_compress.bench.contenders import flops_of
from vdmini_compress.bench.matmul import matmul_rate
from vdmini_compress.bench.switches import switch_worth
from vdmini_compress.evaluate import settings_of
from vdmini_compress.material import sample_input

FAST = {"fused_blocks": True, "cached_lookups": True, "on_device": True, "cuda_graphs": True}
EACH = (
    {"on_device": True},
    {"fused_blocks": True},
    {"fused_blocks": True, "on_device": True},
    {"fused_blocks": True, "on_device": True, "cuda_graphs": True},
    FAST,
    FAST | {"encoder_graphs": True},
    FAST | {"fused_projections": True},
)
KERNELS = 24


def kernels(engine: Engine, conditions: dict[str, Any]) -> list[dict[str, Any]]:
    """The kernels of one clip that take longest: name, milliseconds and calls; of a CPU, its operators."""
    where = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if engine.torch_device.type == "cuda" else [])
    with profile(activities=where) as seen:
        engine.generate(**settings_of(engine, **conditions))
    rows = seen.key_averages()
    if engine.torch_device.type == "cuda":
        spent = {row: row.self_device_time_total for row in rows if row.device_type == DeviceType.CUDA}
    else:
        spent = {row: row.self_cpu_time_total for row in rows}
    longest = sorted(spent, key=lambda row: -spent[row])[:KERNELS]
    found = [{"name": row.key[:120], "ms": round(spent[row] / 1000, 3), "calls": row.count} for row in longest]
    return [{"name": "all", "ms": round(sum(spent.values()) / 1000, 3), "calls": len(spent)}, *found]


def main() -> None:
    """Run what the command line asks for, writing the record after each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_subject(parser)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--settings", type=json.loads, nargs="+", default=list(EACH), metavar="JSON")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no other setting after so long")
    arguments = parser.parse_args()
    quiet_libraries()
    begin, device, family = time.monotonic(), pick_device(arguments.device), family_named(arguments.family)
    full = subject(family, arguments)
    plain = engine_of(family, full, device, narrow=arguments.width is not None)
    conditions, flops = sample_input(plain), flops_of(plain)
    record: dict[str, Any] = provenance(shlex.join(["python", *sys.argv])) | {
        "dtype": plain.dtype,
        "clip": full.defaults.model_dump(),
        "flops": flops,
        "matmul_flops_per_second": round(matmul_rate(device, plain.torch_dtype)),
        "plain_seconds": _plain_seconds(plain, conditions),
        "plain_kernels": kernels(plain, conditions),
        "switches": [],
    }
    print({name: record[name] for name in ("flops", "matmul_flops_per_second", "plain_seconds")}, flush=True)
    for settings in arguments.settings:
        if time.monotonic() - begin > arguments.seconds:
            break
        record["switches"].append(tried(settings, plain, conditions, arguments.runs))
        arguments.output.write_text(json.dumps(record, indent=2) + "\n")
        print({key: value for key, value in record["switches"][-1].items() if key != "kernels"}, flush=True)
        torch.compiler.reset()


def tried(settings: dict[str, Any], plain: Engine, conditions: dict[str, Any], runs: int) -> dict[str, Any]:
    """One setting as plain data; one that fails says so, and the others are still tried."""
    longest: list[dict[str, Any]] = []
    try:
        worth = switch_worth(
            lambda: copied(plain),
            RuntimeSettings(**settings),
            plain,
            conditions,
            runs=runs,
            say=lambda _: None,
            with_engine=lambda engine: longest.extend(kernels(engine, conditions)),
        )
    except RuntimeError as error:
        return {"runtime": settings, "error": f"{type(error).__name__}: {str(error)[:600]}"}
    return worth.model_dump() | {"kernels": longest}


def _plain_seconds(plain: Engine, conditions: dict[str, Any]) -> dict[str, float]:
    """Of the third clip."""
    made = [plain.generate(**settings_of(plain, **conditions)).seconds for _ in range(3)]
    return {stage: round(seconds, 4) for stage, seconds in made[-1].items()}


if __name__ == "__main__":
    main()
