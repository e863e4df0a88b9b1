"""What the events of a stream add up to."""
from longhand.v1 import generation_pb2 as pb


class Answer:
    """`texts`, `token_ids` (where asked for), `finish_reasons` ("stop", "length") and `finish_details` by choice; `usage` once it has ended;
    `prompt_logprobs` (where asked for), a Logprob each: of the prompt's 2nd token, the 3rd, ..."""

    def __init__(self):
        self.texts: dict[int, str] = {}
        self.token_ids: dict[int, list[int]] = {}
        self.finish_reasons: dict[int, str] = {}
        self.finish_details: dict[int, str] = {}
        self.prompt_logprobs: list[pb.Logprob] = []
        self.usage: pb.Usage | None = None

    @property
    def text(self) -> str:
        """Of the first choice."""
        return self.texts.get(0, "")

    def add(self, event: pb.GenerateEvent) -> None:
        self.texts[event.choice] = self.texts.get(event.choice, "") + event.text
        self.token_ids.setdefault(event.choice, []).extend(event.token_ids)
        self.prompt_logprobs.extend(event.prompt_logprobs)
        if event.finish_reason:
            self.finish_reasons[event.choice] = pb.FinishReason.Name(event.finish_reason).removeprefix("FINISH_REASON_").lower()
            self.finish_details[event.choice] = event.finish_detail
        if event.HasField("usage"):
            self.usage = event.usage
