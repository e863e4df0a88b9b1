"""What schemathesis_test.py changes in requests: they ask for few tokens, so that answers come soon."""
import schemathesis

MAX_TOKENS = 16


@schemathesis.hook
def before_call(context, case, kwargs):
    body = case.body
    if not isinstance(body, dict) or not {"messages", "prompt"} & body.keys() or "completions" not in case.path:
        return
    names = [name for name in ("max_tokens", "max_completion_tokens") if body.get(name) is not None]
    for name in names:
        if isinstance(body[name], int) and body[name] > MAX_TOKENS:
            body[name] = MAX_TOKENS
    if not names:
        body["max_tokens"] = MAX_TOKENS
