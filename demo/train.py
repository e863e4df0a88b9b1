"""Trains the bundled model with transformers' own Qwen2.5-VL class, on the CPU or on a GPU.

    python3 demo/train.py --stage name --steps 400 --out DIR         # from random weights
    python3 demo/train.py --stage see --steps 700 --out DIR          # goes on from DIR's bf16 weights
    python3 demo/train.py --stage whole --minutes 5 --tokens 49152 --out DIR

The stages are those of curriculum.py, in their order; README.md has the whole recipe.

A run needs nothing but the checkpoint in DIR to go on. Every example follows from --seed, the stage and the process that
makes it; with several processes a rank, their order does not.
"""
import argparse
import csv
import itertools
import json
import multiprocessing
import os
import random
import queue
import sys
import tempfile
import threading
import time

import torch
import torch.distributed

import batches
import curriculum
import fast_forwards
import model_files
import muon
import settings
import tokenizer


NAMING_WEIGHT = 2.


def learning_rate(part, peak):
    """Linear warm-up over 3% of the steps, then a cosine down to 4% of the peak."""
    if part < .03:
        return peak * max(part, .001) / .03
    return peak * (.04 + .96 * .5 * (1 + torch.cos(torch.tensor(torch.pi * (part - .03) / .97)).item()))


def has_bfloat16():
    """Whether this processor multiplies bfloat16; without, autocast would be slower than float32."""
    able = torch.cpu.get_capabilities()
    return able.get("avx512_bf16", False) or able.get("amx_bf16", False)


def naming_loss(model, questions, image_tokens, seen):
    """How well every image token, read as a word, says what is drawn in its place: each question's answers are compared.

    It costs next to nothing and no parameters, and it breaks the wait in which the image encoder learns nothing since
    the decoder does not read it, and the decoder does not read it since there is nothing to read.
    """
    words = model.model.language_model.norm(image_tokens)
    losses = []
    for answers, right in zip(questions, seen.T):
        logits = (words @ model.lm_head.weight[answers].T).float()
        total = torch.nn.functional.cross_entropy(logits, right, ignore_index=-1, reduction="sum")
        losses.append(total / (right >= 0).sum().clamp(min=1))
    return sum(losses) / len(losses)


def text_loss(model, embeddings, ids, weights, positions):
    hidden = model.model.language_model(inputs_embeds=embeddings, position_ids=positions, use_cache=False)
    learnt = weights[:, 1:] > 0
    logits = model.lm_head(hidden.last_hidden_state[:, :-1][learnt])
    losses = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][learnt], reduction="none")
    chosen = weights[:, 1:][learnt]
    return (losses * chosen).sum() / chosen.sum()


def losses_of(model, questions, batch, only_name):
    """(loss of the text, of naming); 0 where a batch has none, the first with `only_name`."""
    ids = batch["ids"]
    with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=ids.is_cuda or has_bfloat16()):
        embeddings = model.get_input_embeddings()(ids)
        text = naming = torch.zeros((), device=ids.device)
        if "pixels" in batch:
            image_tokens = model.model.visual(batches.pixel_values(batch["pixels"]),
                                              **{name: batch[name] for name in batches.LAYOUT}).pooler_output
            naming = naming_loss(model, questions, image_tokens, batch["seen"])
            images = (ids == model.config.image_token_id)[..., None].expand_as(embeddings)
            embeddings = embeddings.masked_scatter(images, image_tokens.to(embeddings.dtype))
        if not only_name:
            text = text_loss(model, embeddings, ids, batch["weights"], batch["positions"])
    return text, naming


def batch_stream(args, producer):
    """Batches of this producer; each draws its own examples. Every fourth batch is one of stage `see`: by tokens
    seeing is a small part of the later ones, and would be forgotten."""
    rng = random.Random(f"{args.seed} {args.stage} {producer}")
    encoder = batches.Encoder(args.out)
    own, look = (batches.batches(lambda s=stage: curriculum.sample(s, rng, encoder), rng, args.tokens, stage.pool)
                 for stage in (curriculum.STAGES[args.stage], curriculum.STAGES["see"]))
    for i in itertools.count():
        yield next(look if i % 4 == 3 and args.stage != "name" else own)


def produce(args, producer, queue_out):
    """Fills a queue. A process of its own: while pictures are drawn, nobody waits."""
    torch.set_num_threads(1)
    trainer = multiprocessing.parent_process()
    for batch in batch_stream(args, producer):
        arrays = {name: tensor.numpy() for name, tensor in batch.items()}
        while trainer.is_alive():
            try:
                queue_out.put(arrays, timeout=5)
                break
            except queue.Full:
                continue
        else:
            return  # Killed: nobody takes batches any more.


def on_device(source, device):
    """Endless batches. A thread unpacks them ahead into memory that a GPU copies from."""
    ready = queue.Queue(maxsize=4)

    def unpack():
        while True:
            tensors = {name: torch.from_numpy(array) for name, array in source.get().items()}
            ready.put(tensors if device == "cpu" else {name: tensor.pin_memory() for name, tensor in tensors.items()})

    threading.Thread(target=unpack, daemon=True).start()
    while True:
        yield {name: tensor.to(device, non_blocking=True) for name, tensor in ready.get().items()}


def make_optimizers(model, peak):
    """Muon for the matrices of both towers, which needs fewer steps here, and AdamW for everything else."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        (matrices if parameter.ndim == 2 and "embed" not in name else others).append(parameter)
    return [muon.Muon(matrices, lr=peak, weight_decay=.01),
            torch.optim.AdamW(others, lr=peak, betas=(.9, .98), weight_decay=.01)]


def average_gradients(model, num_ranks):
    """The mean over all ranks, in one exchange."""
    if num_ranks == 1:
        return
    parameters = [p for p in model.parameters() if p.requires_grad]
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(flat)
    flat /= num_ranks
    for parameter, mean in zip(parameters, flat.split([g.numel() for g in gradients])):
        parameter.grad = mean.view_as(parameter)


def plot(path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    with open(path + ".csv", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    minutes = list(itertools.accumulate(float(row[2]) for row in rows))
    losses, smooth = [float(row[3]) for row in rows], []
    for value in losses:
        smooth.append(value if not smooth else .97 * smooth[-1] + .03 * value)
    figure, axes = pyplot.subplots(figsize=(8, 4))
    axes.plot(minutes, losses, color="0.8", linewidth=.5)
    axes.plot(minutes, smooth, color="tab:blue")
    axes.set(xlabel="minutes of training", ylabel="weighted loss", yscale="log")
    axes.grid(alpha=.3)
    figure.tight_layout()
    figure.savefig(path + ".png", dpi=100)
    pyplot.close(figure)


class Progress:
    """The share of the training that is done, by steps or by minutes."""

    def __init__(self, steps, minutes):
        self._steps, self._minutes, self._start = steps, minutes, time.monotonic()

    def minutes(self):
        return (time.monotonic() - self._start) / 60

    def part(self, steps_done):
        return min(1., steps_done / self._steps if self._steps else self.minutes() / self._minutes)


class Log:
    """Losses of every step into loss.csv, and a line on the terminal. Values stay on their device until ten are there:
    a GPU need not wait for them."""

    def __init__(self, args):
        self._stage, self._ranks = args.stage, args.ranks
        self._file = open(os.path.join(args.out, "loss.csv"), "a", encoding="utf-8", newline="")
        self._pending, self._written, self._tokens, self._minutes, self.smooth = [], 0, 0, 0., None

    def add(self, progress, step, num_tokens, losses, last):
        self._tokens += num_tokens * self._ranks
        self._pending.append(torch.stack([value.detach().float() for value in losses]))
        if len(self._pending) == 10 or last:
            self._write(progress, step)

    def _write(self, progress, step):
        rows = torch.stack(self._pending).tolist()
        minutes = progress.minutes()
        each = round((minutes - self._minutes) / len(rows), 5)
        for i, row in enumerate(rows):
            csv.writer(self._file).writerow([self._stage, step - len(rows) + 1 + i, each] + [round(v, 5) for v in row])
            self.smooth = row[0] if self.smooth is None else .98 * self.smooth + .02 * row[0]
        self._file.flush()
        self._pending, self._minutes, done = [], minutes, progress.part(step)
        print(f"\r[{'#' * int(20 * done):<20}] {self._stage} step {step} loss {self.smooth:.4f} "
              f"{self._tokens / minutes / 60:.0f} tokens/s {minutes:.1f} min ",
              end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)

    def finish(self, progress, step):
        self._file.close()
        print(json.dumps({"stage": self._stage, "steps": step, "tokens": self._tokens, "loss": round(self.smooth, 4),
                          "minutes": round(progress.minutes(), 1)}), flush=True)


def train(args, rank, source):
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("high")  # TF32 for the optimizer, where there is such a thing.
    if args.ranks > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{args.meet}", rank=rank,
                                             world_size=args.ranks)
    model = model_files.build(args.out, args.seed).to(args.device)
    fast_forwards.speed_up(model, args.compile)
    model.train()
    only_name, questions = args.stage == "name", batches.Encoder(args.out).questions
    if only_name:
        model.requires_grad_(False)
        model.model.visual.requires_grad_(True)
    optimizers = make_optimizers(model, args.peak)
    stream = on_device(source, args.device)
    batch, progress = next(stream), Progress(args.steps, args.minutes)
    log, saved = Log(args) if rank == 0 else None, 0.
    if rank == 0:
        size = sum(p.numel() for p in model.parameters())
        print(json.dumps({"stage": args.stage, "parameters": size, "seed": args.seed, "device": args.device}), flush=True)
    for step in itertools.count(1):
        part = progress.part(step - 1)
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = learning_rate(part, args.peak)
        text, naming = losses_of(model, questions, batch, only_name)
        loss = text + NAMING_WEIGHT * naming
        loss.backward()
        average_gradients(model, args.ranks)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        last = progress.part(step) >= 1
        if rank == 0:
            log.add(progress, step, batch["ids"].numel(), (loss, text, naming), last)
            if last or progress.minutes() > saved + 4:
                model_files.save(model, args.out)
                saved = progress.minutes()
        if last:
            break
        batch = next(stream)
    if rank == 0:
        log.finish(progress, step)
        plot(os.path.join(args.out, "loss"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=curriculum.STAGES, required=True)
    length = parser.add_mutually_exclusive_group(required=True)
    length.add_argument("--steps", type=int)
    length.add_argument("--minutes", type=float, help="one process only")
    parser.add_argument("--out", required=True, help="checkpoint directory; continued where it holds weights")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peak", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--tokens", type=int, default=2048, help="padded tokens a step and process")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--ranks", type=int, help="processes of one thread each; 2, on a GPU 1")
    parser.add_argument("--producers", type=int, help="processes that make examples; one a rank, for a GPU all processors")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction,
                        help="let torch.compile fuse small operations; takes a minute or two first, worth it on a CPU")
    args = parser.parse_args()
    on_cpu = args.device == "cpu"
    args.ranks = args.ranks or (2 if on_cpu else 1)
    args.producers = args.producers or (args.ranks if on_cpu else os.cpu_count() - 1)
    args.compile = on_cpu if args.compile is None else args.compile
    if args.ranks > 1 and (args.minutes or not on_cpu):
        parser.error(f"--ranks must be 1 with --minutes and on a GPU, not {args.ranks}")
    if args.producers < args.ranks:
        parser.error(f"--producers must be at least --ranks, {args.ranks}, not {args.producers}")
    os.makedirs(args.out, exist_ok=True)
    if not os.path.exists(os.path.join(args.out, "tokenizer.json")):
        tokenizer.write(args.out)
    settings.write(args.out)
    with tempfile.TemporaryDirectory() as folder:
        args.meet = os.path.join(folder, "meet")
        context = multiprocessing.get_context("spawn")
        queues = [context.Queue(maxsize=4 * (args.producers // args.ranks)) for _ in range(args.ranks)]
        producers = [context.Process(target=produce, args=(args, i, queues[i % args.ranks]), daemon=True)
                     for i in range(args.producers)]
        others = [context.Process(target=train, args=(args, rank, queues[rank]), daemon=True)
                  for rank in range(1, args.ranks)]
        for process in producers + others:
            process.start()
        train(args, 0, queues[0])
        for other in others:
            other.join()
        for producer in producers:
            producer.terminate()


if __name__ == "__main__":
    main()
