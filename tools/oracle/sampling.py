"""The distribution from which a token is drawn, in double precision, written for clarity."""

import torch

# What is recorded, for each of the recorded rows of logits.
PARAMETERS = [
    dict(temperature=1.0),
    dict(temperature=0.6, top_p=0.95),
    dict(temperature=0.9, top_p=0.95),
    dict(temperature=1.7),
    dict(top_k=5),
    dict(top_k=1),
    dict(top_p=0.5),
    dict(top_p=1e-6),
    dict(min_p=0.1),
    dict(repetition_penalty=1.3),
    dict(presence_penalty=1.5),
    dict(frequency_penalty=0.8),
    dict(temperature=0.7, top_k=20, top_p=0.8, repetition_penalty=1.05),
    dict(temperature=1.5, min_p=0.05, top_k=50, top_p=0.9),
    dict(
        temperature=0.8,
        top_p=0.9,
        repetition_penalty=1.1,
        presence_penalty=0.5,
        frequency_penalty=0.3,
    ),
]


def _penalize(
    logits: torch.Tensor,
    prompt: torch.Tensor,
    output: torch.Tensor,
    *,
    repetition: float,
    presence: float,
    frequency: float,
) -> torch.Tensor:
    """Repetition looks at the prompt too; presence and frequency at the answer alone."""
    seen = torch.cat([prompt, output]).unique()
    logits[seen] = torch.where(logits[seen] > 0, logits[seen] / repetition, logits[seen] * repetition)
    counts = torch.bincount(output, minlength=len(logits))
    return logits - frequency * counts - presence * (counts > 0)


def distribution(
    logits: torch.Tensor,
    prompt: torch.Tensor,
    output: torch.Tensor,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    presence_penalty: float = 0.0,
    frequency_penalty: float = 0.0,
) -> torch.Tensor:
    """vLLM's order: penalties, temperature, min_p, then top_k, then top_p of what is left."""
    x = _penalize(
        logits.double().clone(),
        prompt,
        output,
        repetition=repetition_penalty,
        presence=presence_penalty,
        frequency=frequency_penalty,
    )
    x = x / temperature
    probabilities = x.softmax(-1)
    x[probabilities < min_p * probabilities.max()] = -torch.inf
    if top_k:
        x[x < x.topk(top_k).values[-1]] = -torch.inf
    best_first = x.argsort(descending=True)
    probabilities = x[best_first].softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    outside_nucleus = before >= top_p
    outside_nucleus[0] = False
    x[best_first[outside_nucleus]] = -torch.inf
    return x.softmax(-1)
