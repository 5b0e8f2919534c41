"""Times PyTorch's attention and products with CUDA events; prints one JSON object a line."""

import json
import statistics

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
}
SHAPES = [
    (15000, 1280, 3840),
    (15000, 1280, 1280),
    (15000, 1280, 5120),
    (15000, 5120, 1280),
    (7500, 2560, 1280),
    (7500, 1280, 5120),
    (7500, 1280, 4096),
    (7500, 4096, 4096),
    (7600, 4096, 6144),
    (7600, 4096, 4096),
    (7600, 4096, 24576),
    (7600, 12288, 4096),
    (8192, 8192, 8192),
]


def say(name, value):
    print(json.dumps({name: value}), flush=True)


def microseconds(run, batch=1):
    """The median of seven timings of `batch` runs, after two for warming up."""
    for _ in range(2):
        run()
    times = []
    for _ in range(7):
        start = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        start.record()
        for _ in range(batch):
            run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) * 1e3 / batch)
    return statistics.median(times)


def normal(*shape):
    return torch.randn(*shape, device="cuda", dtype=torch.bfloat16)


def guarded(name, measure):
    """Says what `measure` returns, or its error."""
    try:
        say(name, measure())
    except Exception as error:
        say(name, {"error": f"{type(error).__name__}: {error}"[:300]})


def attention(batch, heads, kv_heads, queries, keys, width, causal):
    q = normal(batch, heads, queries, width)
    k, v = (normal(batch, kv_heads, keys, width) for _ in range(2))
    flops = 4 * batch * heads * queries * keys * width / (2 if causal else 1)
    grouped = heads != kv_heads
    results = {}
    for name, backend in BACKENDS.items():
        try:
            with sdpa_kernel([backend]):
                run = lambda: F.scaled_dot_product_attention(
                    q, k, v, is_causal=causal, enable_gqa=grouped
                )
                time = microseconds(run, 20 if queries == 1 else 2)
            results[name] = {"us": time, "TFLOP/s": flops / time / 1e6}
        except Exception as error:
            results[name] = {"error": f"{type(error).__name__}: {error}"[:200]}
    if queries == 1:
        results["KV bytes"] = 2 * 2 * batch * kv_heads * keys * width
    return results


def product(m, k, n):
    x, w = normal(m, k), normal(n, k) * 0.02
    time = microseconds(lambda: x @ w.t(), 3)
    return {"us": time, "TFLOP/s": 2 * m * k * n / time / 1e6}


def product_fp8(m, k, n):
    x = normal(m, k).to(torch.float8_e4m3fn)
    w = normal(n, k).to(torch.float8_e4m3fn)
    scale = torch.ones((), device="cuda")
    run = lambda: torch._scaled_mm(x, w.t(), scale, scale, out_dtype=torch.bfloat16)
    time = microseconds(run, 3)
    return {"us": time, "TFLOP/s": 2 * m * k * n / time / 1e6}


def main():
    say(
        "versions",
        {
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "device": torch.cuda.get_device_name(),
        },
    )
    cases = {
        "attention, causal 7600, 32/8 heads of 128": (1, 32, 8, 7600, 7600, 128, True),
        "attention, causal 7600, 32/32 heads of 128": (1, 32, 32, 7600, 7600, 128, True),
        "attention, full 1500, 20 heads of 64, batch 10": (10, 20, 20, 1500, 1500, 64, False),
        "attention, cross 7500, 20 heads of 64, batch 2": (2, 20, 20, 7500, 7500, 64, False),
        "attention, decode 1 x 7600, 32/8 heads of 128": (1, 32, 8, 1, 7600, 128, False),
        "attention, decode 16 x 7600, 32/8 heads of 128": (16, 32, 8, 1, 7600, 128, False),
    }
    for name, case in cases.items():
        guarded(name, lambda: attention(*case))
    for shape in SHAPES:
        guarded("bf16 {} x {} x {}".format(*shape), lambda: product(*shape))
    for shape in SHAPES:
        guarded("fp8 {} x {} x {}".format(*shape), lambda: product_fp8(*shape))


main()
