"""Records what the model computes: states, logits, greedy answers, a ragged batch, sampling, YaRN."""

import pathlib

import torch

import cases
import reference
import sampling
import seeding
from recording import Recording

NUM_TAIL = 8  # Rows of logits at the end of the prompt.
FORCED_STRIDE = 8  # Every so many steps of the answer.


def record_answers(out: Recording, prompts: reference.Prompts, model, num_new: int) -> None:
    for name, notes in out.notes["cases"].items():
        inputs = prompts.inputs([name])
        answer = reference.greedy(model, inputs, num_new)
        penalized = reference.greedy(model, inputs, num_new, repetition_penalty=1.05)
        key = f"case/{name}"
        out.put(f"{key}/logits_last", answer.logits[0, 0])
        out.put(f"{key}/greedy_ids", answer.ids[0])
        out.put(f"{key}/greedy_logprobs", answer.logprobs[0])
        out.put(f"{key}/greedy_margin", answer.margins[0])
        out.put(f"{key}/greedy_ids_rep1.05", penalized.ids[0])
        out.put(f"{key}/greedy_margin_rep1.05", penalized.margins[0])
        notes["min_margin"] = float(min(answer.margins.min(), penalized.margins.min()))


def record_batch(out: Recording, prompts: reference.Prompts, model, num_new: int) -> None:
    """The cases of BATCH together, padded: the answers are those that each has alone."""
    answer = reference.greedy(model, prompts.inputs(cases.BATCH), num_new)
    same = [
        torch.equal(ids.int(), out.tensors[f"case/{name}/greedy_ids"])
        for name, ids in zip(cases.BATCH, answer.ids, strict=True)
    ]
    out.notes["batch"] = {"cases": cases.BATCH, "same_tokens_as_alone": same}


def record_states(out: Recording, prompts: reference.Prompts, model, prefix: str = "") -> None:
    inputs = prompts.inputs([cases.DEEP])
    found, logits = reference.states(model, inputs)
    for name, value in found.items():
        out.put(f"{prefix}{name}", value)
    out.put(f"{prefix}lm/logits_tail", logits[-NUM_TAIL:])
    # Along the fp32 answer, so that the rows can be compared where greedy paths part.
    forced = reference.logits_of_continuation(
        model, inputs, out.tensors[f"case/{cases.DEEP}/greedy_ids"].long()
    )
    out.put(f"{prefix}lm/logits_forced", forced[::FORCED_STRIDE])


def record_sampling(out: Recording, num_tokens: int, seed: int) -> None:
    """Two rows of logits, each with a history that its likely tokens occur in, for each set of parameters."""
    out.notes["sampling"] = sampling.PARAMETERS
    random = seeding.generator(seed, "sampling")
    for row in range(2):
        logits = out.tensors["lm/logits_tail"][-1 - 3 * row]
        best = logits.topk(6).indices
        prompt = torch.cat([torch.from_numpy(random.integers(0, num_tokens, 40)), best[:4]])
        output = torch.cat([torch.from_numpy(random.integers(0, num_tokens, 10)), best[[2, 3, 4, 4, 4, 5]]])
        out.put(f"samp/{row}/logits", logits)
        out.put(f"samp/{row}/prompt", prompt)
        out.put(f"samp/{row}/output", output)
        for n, parameters in enumerate(sampling.PARAMETERS):
            out.put(f"samp/{row}/{n}/vllm", sampling.distribution(logits, prompt, output, **parameters))


def record_rope(out: Recording, prompts: reference.Prompts, model, name: str, num_new: int) -> None:
    """Frequencies, and logits of a prompt whose second half lies `gap` positions away."""
    rope = model.model.language_model.rotary_emb
    out.put(f"rope/{name}/inv_freq", rope.inv_freq)
    out.put(f"rope/{name}/attention_scaling", [float(rope.attention_scaling)])
    inputs = prompts.inputs([cases.FAR])
    positions, _ = reference.rope_index(model, inputs)
    num_tokens = positions.shape[-1]
    second_half = (torch.arange(num_tokens) >= num_tokens // 2).long()
    for gap in (0, 33000, 100000):
        with torch.no_grad():
            logits = model(**inputs, position_ids=positions + gap * second_half).logits[0, -1]
        out.put(f"rope/{name}/logits_gap{gap}", logits)
    out.put(f"rope/{name}/greedy_ids", reference.greedy(model, inputs, num_new).ids[0])


def record_bfloat16(
    out: Recording, prompts: reference.Prompts, checkpoint: pathlib.Path, num_new: int
) -> None:
    model = reference.load_model(checkpoint, torch.bfloat16)
    record_states(out, prompts, model, prefix="bf16/")
    for name in cases.CASES:
        answer = reference.greedy(model, prompts.inputs([name]), num_new)
        out.put(f"bf16/case/{name}/logits_last", answer.logits[0, 0])
        out.put(f"bf16/case/{name}/greedy_ids", answer.ids[0])
