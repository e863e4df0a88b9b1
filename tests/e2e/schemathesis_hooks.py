"""What schemathesis_test.py changes in requests: they ask for few tokens, so that answers come soon."""
import json

import schemathesis

MAX_TOKENS = 16
PATHS = {"/v1/chat/completions", "/v1/completions", "/v1/documents"}
FORMS = ("structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar")
PLAN = "Section 1 - Main Point: noise - Word Count: 5"


def is_large(value):
    return isinstance(value, (int, float)) and value == int(value) and value > MAX_TOKENS


@schemathesis.hook
def before_call(context, case, kwargs):
    body = case.body
    if not isinstance(body, dict) or not {"messages", "prompt", "instruction"} & body.keys() or case.path not in PATHS:
        return
    if case.path == "/v1/documents" and isinstance(body.get("plan"), str | None):
        body["plan"] = PLAN  # Random weights make none, and no schema says what one is.
    names = [name for name in ("max_tokens", "max_completion_tokens") if body.get(name) is not None]
    for name in names:
        if is_large(body[name]):
            body[name] = MAX_TOKENS
    if len(names) == 2 and body[names[0]] != body[names[1]] and all(isinstance(body[name], int) and body[name] > 0 for name in names):
        body[names[1]] = body[names[0]]  # No schema says that they are to be the same.
    if not names:
        body["max_tokens"] = MAX_TOKENS
    if is_large(body.get("min_tokens")):
        body["min_tokens"] = 0


def says_something(message):
    content = message.get("content") if isinstance(message, dict) else None
    parts = content if isinstance(content, list) else [{"text": content}]
    return any(isinstance(part, dict) and str(part.get("text") or "").strip(" \t\r\n") for part in parts)


@schemathesis.hook
def filter_case(context, case):
    """What a schema does not say is left out: whether a picture can be decoded or a form compiled, how many events a stream and ids a vocabulary has, which
    fields go together."""
    places = {**(case.query or {}), **(case.headers or {})}
    body = case.body if isinstance(case.body, dict) else {}
    return not ('"image_url"' in json.dumps(case.body, default=str)
                or body.get("images")
                or (case.path == "/v1/documents" and body.get("messages") and not any(map(says_something, body["messages"])))
                or any(str(places.get(name, 0)).isdigit() and int(places.get(name, 0)) > 1 for name in ("from", "Last-Event-ID"))
                or isinstance(body.get("prompt"), list)
                or (isinstance(body.get("stop_token_ids"), list) and any(isinstance(id, (int, float)) and id > 1000 for id in body["stop_token_ids"]))
                or (isinstance(body.get("logit_bias"), dict) and any(id.isdigit() and int(id) > 1000 for id in body["logit_bias"]))
                or any(body.get(name) for name in FORMS) or (body.get("response_format") or {"type": "text"}) != {"type": "text"}
                or (body.get("stream_options") is not None and body.get("stream") is not True)
                or (body.get("prompt_logprobs") is not None and (body.get("stream") is True or body.get("echo") is True))
                or (0 in (body.get("max_tokens"), body.get("max_completion_tokens"))
                    and (body.get("echo") is not True or body.get("target_words") is not None))
                or (body.get("top_logprobs") is not None and body.get("logprobs") is not True))
