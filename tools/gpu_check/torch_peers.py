"""The cases of kernel_bench as torch runs them, timed the same way: events, 256 MB of other memory read before each
sample, random data, medians. One JSON object a line.

    torch_peers.py CASES.json     records of kernel_bench that have a shape
"""
import json
import statistics
import sys

import torch
import torch.nn.functional as F

WARM_UPS, MIN_SAMPLES, MAX_SAMPLES, MAX_SECONDS = 3, 10, 100, 0.8
HEAD_DIM = 128


def measure(run, flush):
    def sample():
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        flush.sum()
        begin.record()
        run()
        end.record()
        return begin, end

    for _ in range(WARM_UPS):
        last = sample()
    torch.cuda.synchronize()
    one_ms = last[0].elapsed_time(last[1])
    count = max(MIN_SAMPLES, min(MAX_SAMPLES, int(MAX_SECONDS * 1e3 / (one_ms + 0.2))))
    samples = [sample() for _ in range(count)]
    torch.cuda.synchronize()
    times = [begin.elapsed_time(end) * 1e6 for begin, end in samples]
    return {"ns": statistics.median(times), "best_ns": min(times), "samples": count}


def normal(*shape, deviation=1.0):
    return torch.empty(shape, dtype=torch.bfloat16, device="cuda").normal_(std=deviation)


class Peers:
    def __init__(self):
        self._weight_key = self._weight = None

    def linear(self, shape, _case):
        key = shape["out"], shape["in"]
        if key != self._weight_key:
            self._weight = None
            self._weight_key, self._weight = key, normal(*key, deviation=0.02)
        x, weight = normal(shape["rows"], shape["in"]), self._weight
        return lambda: F.linear(x, weight)

    def attention(self, shape, case):
        # A contiguous cache; decode through it is no peer of a paged kernel.
        if shape["query"] != shape["context"] or shape["query"] < 2:
            return None
        query = normal(shape["seqs"], shape["heads"], shape["query"], HEAD_DIM)
        key, value = (normal(shape["seqs"], shape["kv_heads"], shape["context"], HEAD_DIM) for _ in range(2))
        return lambda: F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)

    def vision(self, shape, _case):
        segments = shape["patches"] // shape["segment"]
        query, key, value = (normal(segments, 16, shape["segment"], 80) for _ in range(3))
        return lambda: F.scaled_dot_product_attention(query, key, value)

    def rms_norm(self, shape, _case):
        x, residual = (normal(shape["rows"], shape["width"]) for _ in range(2))
        weight = normal(shape["width"])
        return lambda: F.rms_norm(residual.add_(x), (shape["width"],), weight, 1e-6)


def roofs(flush):
    source = torch.randint(0, 1 << 30, (1 << 28,), dtype=torch.int32, device="cuda")
    target = torch.empty_like(source)
    yield "copy 1 GiB, read and written", lambda: target.copy_(source), 2.0 * 4 * source.numel(), 0
    a, b = normal(8192, 8192), normal(8192, 8192)
    yield "matmul 8192 x 8192 x 8192 bf16", lambda: a @ b, 0, 2.0 * 8192**3


def emit(record):
    print(json.dumps(record), flush=True)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    flush = torch.zeros(1 << 26, dtype=torch.int32, device="cuda")
    emit({"op": "torch", "case": f"{torch.__version__}, CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}"})
    for name, run, num_bytes, flops in roofs(flush):
        emit({"op": "roof", "case": name, "bytes": num_bytes, "flops": flops, **measure(run, flush)})
    peers = Peers()
    makers = {"Linear": peers.linear, "PagedAttention": peers.attention, "VisionAttention": peers.vision,
              "RmsNorm": peers.rms_norm}
    for case in cases:
        make = makers.get(case["op"])
        try:
            run = make(case["shape"], case["case"]) if make else None
            if run is not None:
                emit({"op": case["op"], "case": case["case"], **measure(run, flush)})
        except RuntimeError as error:
            emit({"op": case["op"], "case": case["case"], "message": str(error)[:200]})


if __name__ == "__main__":
    with torch.no_grad():
        main()
