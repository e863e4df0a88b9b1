"""The cases of kernel_bench as torch, cuDNN, FlashInfer and FlashAttention-3 run them, timed the same way: events, 256 MB of
other memory read before each sample, random data, medians; the device waits before that, so that no sample has to wait for
Python. One JSON object a line, with the peer's name; for a peer that
is not there, one that says so.

    torch_peers.py CASES.json     records of kernel_bench that have a shape
"""
import importlib
import json
import statistics
import sys

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

WARM_UPS, MIN_SAMPLES, MAX_SAMPLES, MAX_SECONDS = 3, 10, 50, 0.4
HEAD_DIM = 128
WAIT_CLOCKS = 400_000  # some 0.2 ms: more than a peer's call takes on the host


def measure(run, flush):
    def sample():
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(WAIT_CLOCKS)
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


def paged_cache(shape):
    """Keys and values in blocks that lie anywhere: [blocks, 2, block_size, kv_heads, head_dim], and each sequence's blocks."""
    each = -(-shape["context"] // shape["block_size"])
    blocks = shape["seqs"] * each
    cache = normal(blocks, 2, shape["block_size"], shape["kv_heads"], HEAD_DIM)
    indices = torch.randperm(blocks, device="cuda").to(torch.int32)
    starts = torch.arange(0, blocks + 1, each, dtype=torch.int32, device="cuda")
    last = torch.full((shape["seqs"],), shape["context"] - (each - 1) * shape["block_size"], dtype=torch.int32, device="cuda")
    return cache, starts, indices, last


class Torch:
    name = "torch"

    def __init__(self):
        self._weight_key = self._weight = None

    def linear(self, shape, variant):
        if variant not in ("", "fp8"):
            return None
        key = shape["out"], shape["in"], variant
        if key != self._weight_key:
            self._weight = None
            self._weight_key, self._weight = key, normal(*key[:2], deviation=0.02)
            if variant == "fp8":
                self._weight = self._weight.to(torch.float8_e4m3fn)
        x, weight = normal(shape["rows"], shape["in"]), self._weight
        if not variant:
            return lambda: F.linear(x, weight)
        codes, by_row = x.to(torch.float8_e4m3fn), torch.ones(shape["rows"], 1, device="cuda")
        by_column = torch.ones(1, shape["out"], device="cuda")
        return lambda: torch._scaled_mm(codes, weight.t(), by_row, by_column, out_dtype=torch.bfloat16)

    def attention(self, shape, variant):
        # A contiguous cache; decode through it is no peer of a paged kernel.
        if variant or shape["query"] != shape["context"] or shape["query"] < 2:
            return None
        query = normal(shape["seqs"], shape["heads"], shape["query"], HEAD_DIM)
        key, value = (normal(shape["seqs"], shape["kv_heads"], shape["context"], HEAD_DIM) for _ in range(2))
        return lambda: F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)

    def vision(self, shape, _variant):
        segments = shape["patches"] // shape["segment"]
        query, key, value = (normal(segments, 16, shape["segment"], 80) for _ in range(3))
        return lambda: F.scaled_dot_product_attention(query, key, value)

    def rms_norm(self, shape, _variant):
        x, residual = (normal(shape["rows"], shape["width"]) for _ in range(2))
        weight = normal(shape["width"])
        return lambda: F.rms_norm(residual.add_(x), (shape["width"],), weight, 1e-6)


class Cudnn:
    """torch's SDPA by cuDNN, where torch has it: kernels of FlashAttention-3's class."""
    name = "cudnn"

    def attention(self, shape, variant):
        if variant or shape["query"] != shape["context"] or shape["query"] < 2:
            return None
        query = normal(shape["seqs"], shape["heads"], shape["query"], HEAD_DIM)
        key, value = (normal(shape["seqs"], shape["kv_heads"], shape["context"], HEAD_DIM) for _ in range(2))
        return self._by_cudnn(query, key, value, is_causal=True, enable_gqa=True)

    def vision(self, shape, _variant):
        segments = shape["patches"] // shape["segment"]
        query, key, value = (normal(segments, 16, shape["segment"], 80) for _ in range(3))
        return self._by_cudnn(query, key, value)

    @staticmethod
    def _by_cudnn(*tensors, **options):
        def run():
            with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
                F.scaled_dot_product_attention(*tensors, **options)
        return run


class FlashInfer:
    """Paged attention; its plan is made before the time is taken, as it is once for all layers of a step."""
    name = "flashinfer"

    def __init__(self):
        self._flashinfer = importlib.import_module("flashinfer")
        self._workspace = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")

    def attention(self, shape, variant):
        if variant:
            return None
        cache, starts, indices, last = paged_cache(shape)
        heads = shape["heads"], shape["kv_heads"], HEAD_DIM, shape["block_size"]
        query = normal(shape["seqs"] * shape["query"], shape["heads"], HEAD_DIM)
        if shape["query"] == 1:
            wrapper = self._flashinfer.BatchDecodeWithPagedKVCacheWrapper(self._workspace, "NHD", use_tensor_cores=True)
            wrapper.plan(starts, indices, last, *heads, q_data_type=torch.bfloat16, kv_data_type=torch.bfloat16)
        else:
            rows = torch.arange(0, len(query) + 1, shape["query"], dtype=torch.int32, device="cuda")
            wrapper = self._flashinfer.BatchPrefillWithPagedKVCacheWrapper(self._workspace, "NHD")
            wrapper.plan(rows, starts, indices, last, *heads, causal=True, q_data_type=torch.bfloat16)
        return lambda: wrapper.run(query, cache)


class FlashAttention3:
    name = "fa3"

    def __init__(self):
        self._fa3 = importlib.import_module("flash_attn_interface")

    def attention(self, shape, variant):
        if variant:
            return None
        query = normal(shape["seqs"], shape["query"], shape["heads"], HEAD_DIM)
        if shape["query"] == shape["context"]:
            key, value = (normal(shape["seqs"], shape["context"], shape["kv_heads"], HEAD_DIM) for _ in range(2))
            return lambda: self._fa3.flash_attn_func(query, key, value, causal=True)
        cache, _, indices, _ = paged_cache(shape)
        key, value = cache[:, 0].contiguous(), cache[:, 1].contiguous()
        table = indices.view(shape["seqs"], -1)
        lengths = torch.full((shape["seqs"],), shape["context"], dtype=torch.int32, device="cuda")
        return lambda: self._fa3.flash_attn_with_kvcache(query, key, value, cache_seqlens=lengths, page_table=table,
                                                         causal=True)


PEERS = (Torch, Cudnn, FlashInfer, FlashAttention3)
MAKERS = {"Linear": "linear", "PagedAttention": "attention", "VisionAttention": "vision", "RmsNorm": "rms_norm"}


def roofs(flush):
    source = torch.randint(0, 1 << 30, (1 << 28,), dtype=torch.int32, device="cuda")
    target = torch.empty_like(source)
    yield "copy 1 GiB, read and written", lambda: target.copy_(source), 2.0 * 4 * source.numel(), 0
    a, b = normal(8192, 8192), normal(8192, 8192)
    yield "matmul 8192 x 8192 x 8192 bf16", lambda: a @ b, 0, 2.0 * 8192**3


def emit(record):
    print(json.dumps(record), flush=True)


def key_of(case):
    return {"op": case["op"], "case": case["case"], "variant": case.get("variant", "")}


def run_peer(peer, cases, flush):
    for case in cases:
        make = getattr(peer, MAKERS.get(case["op"], ""), None)
        if make is None:
            continue
        try:
            run = make(case["shape"], case.get("variant", ""))
            if run is not None:
                emit({"peer": peer.name, **key_of(case), **measure(run, flush)})
        except (RuntimeError, TypeError, ValueError, NotImplementedError) as error:
            emit({"peer": peer.name, **key_of(case), "message": f"{type(error).__name__}: {error}"[:200]})


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        cases = json.load(file)
    flush = torch.zeros(1 << 26, dtype=torch.int32, device="cuda")
    emit({"op": "torch", "case": f"{torch.__version__}, CUDA {torch.version.cuda}, {torch.cuda.get_device_name()}"})
    for name, run, num_bytes, flops in roofs(flush):
        emit({"op": "roof", "case": name, "bytes": num_bytes, "flops": flops, **measure(run, flush)})
    for make in PEERS:
        try:
            peer = make()
        except (ImportError, OSError, RuntimeError) as error:
            emit({"op": "peer", "case": make.name, "message": f"{type(error).__name__}: {error}"[:200]})
            continue
        run_peer(peer, cases, flush)


if __name__ == "__main__":
    with torch.no_grad():
        main()
