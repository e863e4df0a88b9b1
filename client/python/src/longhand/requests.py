"""Requests from what a caller has at hand."""
import os
import pathlib
import uuid
from collections.abc import Iterable, Mapping

from longhand.v1 import generation_pb2 as pb

Picture = bytes | os.PathLike  # a file's bytes, or its path
Part = str | Picture  # of a message: text, or a picture
SAMPLING = frozenset(pb.Sampling.DESCRIPTOR.fields_by_name)


def generate_request(
    prompt: str | None = None,
    *,
    images: Iterable[Picture] = (),
    messages: Iterable[Mapping] | None = None,
    text: str | None = None,
    token_ids: Iterable[int] | None = None,
    request_id: str = "",
    model: str = "",
    keep_running: bool = False,
    priority: int = 0,
    cache_salt: str = "",
    target_words: int = 0,
    constraint: Mapping | None = None,
    returns: Mapping | None = None,
    **sampling,
) -> pb.GenerateRequest:
    """One of `prompt` (a user's message, before it the images), `messages` (dicts of `role` and `content`; content is text,
    or a list of texts and pictures), `text` (raw, with `images`) and `token_ids`. `keep_running`: the request goes on when
    nobody reads it. `target_words`: that each answer is held to; 0: none. `constraint`: the form that each answer is held to, a
    field of Constraint such as {"regex": "[0-9]+"}. `returns`: fields of Return, such as {"token_ids": True}, or {"prompt_logprobs": True,
    "top_prompt_logprobs": 5} beside max_tokens=0: what the prompt's tokens were worth to the model. The rest are fields of Sampling."""
    given = [name for name, value in
             (("prompt", prompt), ("messages", messages), ("text", text), ("token_ids", token_ids)) if value is not None]
    if len(given) != 1:
        raise TypeError(f"one of prompt, messages, text, token_ids is needed, not {', '.join(given) or 'none'}")
    _check_sampling(sampling)
    request = pb.GenerateRequest(request_id=request_id or f"py-{uuid.uuid4().hex}", model=model, priority=priority,
                                 cache_salt=cache_salt, sampling=pb.Sampling(**sampling),
                                 **{"return": pb.Return(**(returns or {}))})
    if target_words:
        request.length.target_words = target_words
    if constraint:
        request.constraint.CopyFrom(pb.Constraint(**constraint))
    if keep_running:
        request.on_disconnect = pb.ON_DISCONNECT_CONTINUE
    if prompt is not None:
        messages, images = [{"role": "user", "content": [*images, prompt]}], ()
    if messages is not None:
        if tuple(images):
            raise TypeError("images of messages stand in their content")
        for message in messages:
            _add_message(request, message["role"], message["content"])
    elif text is not None:
        request.text = text
    else:
        request.token_ids.ids.extend(token_ids)
    request.images.extend(pb.Image(data=_data(image)) for image in images)
    return request


def document_request(
    instruction: str,
    *,
    images: Iterable[Picture] = (),
    target_words: int = 0,
    plan: str = "",
    request_id: str = "",
    model: str = "",
    keep_running: bool = False,
    priority: int = 0,
    cache_salt: str = "",
    **sampling,
) -> pb.WriteDocumentRequest:
    """`target_words`: of the whole document; 0 is no target. `plan`: the outline to write to; empty, the model makes one. The rest
    as generate_request's."""
    _check_sampling(sampling)
    request = pb.WriteDocumentRequest(request_id=request_id or f"py-{uuid.uuid4().hex}", model=model, instruction=instruction,
                                      images=[pb.Image(data=_data(image)) for image in images], sampling=pb.Sampling(**sampling),
                                      priority=priority, cache_salt=cache_salt, plan=plan)
    if target_words:
        request.length.target_words = target_words
    if keep_running:
        request.on_disconnect = pb.ON_DISCONNECT_CONTINUE
    return request


def attach_request(request_id: str, from_seq: int) -> pb.AttachRequest:
    return pb.AttachRequest(request_id=request_id, **{"from": from_seq})  # `from` is a word of Python's


def _check_sampling(sampling: Mapping) -> None:
    unknown = sorted(set(sampling) - SAMPLING)
    if unknown:
        raise TypeError(f"unknown: {', '.join(unknown)}; fields of Sampling are {', '.join(sorted(SAMPLING))}")


def _add_message(request: pb.GenerateRequest, role: str, content: Part | Iterable[Part]) -> None:
    message = request.messages.messages.add(role=role)
    for part in [content] if isinstance(content, (str, bytes, os.PathLike)) else content:
        if isinstance(part, str):
            message.content.add(text=part)
        else:
            message.content.add(image=pb.ImagePart())
            request.images.add(data=_data(part))


def _data(picture: Picture) -> bytes:
    return picture if isinstance(picture, bytes) else pathlib.Path(picture).read_bytes()
