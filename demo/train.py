"""Trains the bundled model on the CPU with transformers' own Qwen2.5-VL class.

    python3 demo/train.py --stage name --steps 400 --out DIR         # from random weights
    python3 demo/train.py --stage see --steps 700 --out DIR          # goes on from DIR's bf16 weights

The stages are those of curriculum.py, in their order; README.md has the whole recipe.

A run needs nothing but the checkpoint in DIR to go on. Every example follows from --seed, the stage and the process.
"""
import argparse
import csv
import itertools
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from queue import Full

import torch
import torch.distributed

import batches
import cpu_training
import curriculum
import model_files
import muon
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
        asked = right >= 0
        if asked.any():
            logits = words[asked] @ model.lm_head.weight[answers].T
            losses.append(torch.nn.functional.cross_entropy(logits.float(), right[asked]))
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
    ids, weights, positions, pixels, grids, seen = batch
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=has_bfloat16()):
        embeddings, text, naming = model.get_input_embeddings()(ids), torch.zeros(()), torch.zeros(())
        if pixels is not None:
            image_tokens = model.model.visual(pixels, grid_thw=grids).pooler_output
            naming = naming_loss(model, questions, image_tokens, seen)
            images = (ids == model.config.image_token_id)[..., None].expand_as(embeddings)
            embeddings = embeddings.masked_scatter(images, image_tokens)
        if not only_name:
            text = text_loss(model, embeddings, ids, weights, positions)
    return text, naming


def batch_stream(args, rank):
    """Batches of this rank; every rank draws its own examples. Every fourth batch is one of stage `see`: by tokens
    seeing is a small part of the later ones, and would be forgotten."""
    rng = random.Random(f"{args.seed} {args.stage} {rank}")
    encoder = batches.Encoder(args.out)
    own, look = (batches.batches(lambda s=stage: curriculum.sample(s, rng, encoder), rng, args.tokens, stage.pool)
                 for stage in (curriculum.STAGES[args.stage], curriculum.STAGES["see"]))
    for i in itertools.count():
        yield next(look if i % 4 == 3 and args.stage != "name" else own)


def produce(args, rank, queue):
    """Fills the rank's queue. A process of its own: while pictures are drawn, no rank keeps the others waiting."""
    torch.set_num_threads(1)
    trainer = multiprocessing.parent_process()
    for batch in batch_stream(args, rank):
        arrays = tuple(part if part is None else part.numpy() for part in batch)
        while trainer.is_alive():
            try:
                queue.put(arrays, timeout=5)
                break
            except Full:
                continue
        else:
            return  # Killed: nobody takes batches any more.


def take(queue):
    return tuple(part if part is None else torch.from_numpy(part) for part in queue.get())


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


def train(args, rank, queue):
    torch.set_num_threads(1)
    if args.ranks > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{args.meet}", rank=rank,
                                             world_size=args.ranks)
    model = model_files.build(args.out, args.seed)
    cpu_training.speed_up(model, args.compile)
    model.train()
    only_name, questions = args.stage == "name", batches.Encoder(args.out).questions
    if only_name:
        model.requires_grad_(False)
        model.model.visual.requires_grad_(True)
    optimizers = make_optimizers(model, args.peak)
    start = saved = before = time.monotonic()
    log = open(os.path.join(args.out, "loss.csv"), "a", encoding="utf-8", newline="") if rank == 0 else None
    seen, smooth = 0, None
    if rank == 0:
        size = sum(p.numel() for p in model.parameters())
        print(json.dumps({"stage": args.stage, "parameters": size, "seed": args.seed}), flush=True)
    for step in range(1, args.steps + 1):
        batch = take(queue)
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = learning_rate((step - 1) / args.steps, args.peak)
        text, naming = losses_of(model, questions, batch, only_name)
        loss = text + NAMING_WEIGHT * naming
        loss.backward()
        average_gradients(model, args.ranks)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if rank != 0:
            continue
        seen, now = seen + batch[0].numel() * args.ranks, time.monotonic()
        smooth = loss.item() if smooth is None else .98 * smooth + .02 * loss.item()
        csv.writer(log).writerow([args.stage, step, round((now - before) / 60, 5)] +
                                 [round(value.item(), 5) for value in (loss, text, naming)])
        before = now
        if step % 10 == 0 or step == args.steps:
            bar = "#" * (20 * step // args.steps)
            print(f"\r[{bar:<20}] {args.stage} step {step} loss {smooth:.4f} {seen / (now - start):.0f} tokens/s "
                  f"{(now - start) / 60:.1f} min ", end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)
        if now - saved > 240 or step == args.steps:
            model_files.save(model, args.out)
            log.flush()
            saved = now
    if rank == 0:
        log.close()
        plot(os.path.join(args.out, "loss"))
        print(json.dumps({"stage": args.stage, "steps": args.steps, "tokens": seen, "loss": round(smooth, 4),
                          "minutes": round((time.monotonic() - start) / 60, 1)}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=curriculum.STAGES, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--out", required=True, help="checkpoint directory; continued where it holds weights")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peak", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--tokens", type=int, default=2048, help="padded tokens a step and process")
    parser.add_argument("--ranks", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True,
                        help="let torch.compile fuse small operations; takes a minute or two first")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    if not os.path.exists(os.path.join(args.out, "tokenizer.json")):
        tokenizer.write(args.out)
    model_files.write_settings(args.out)
    with tempfile.TemporaryDirectory() as folder:
        args.meet = os.path.join(folder, "meet")
        context = multiprocessing.get_context("spawn")
        queues = [context.Queue(maxsize=4) for _ in range(args.ranks)]
        producers = [context.Process(target=produce, args=(args, rank, queues[rank]), daemon=True)
                     for rank in range(args.ranks)]
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
