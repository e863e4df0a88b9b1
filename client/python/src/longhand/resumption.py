"""When a call that broke is made again, and how: the same rules for both clients, without a socket."""
import time
from collections.abc import Callable

import grpc

from longhand.errors import Error
from longhand.requests import attach_request
from longhand.v1 import generation_pb2 as pb

FIRST_PAUSE_S = 0.05
MAX_PAUSE_S = 1.0
LASTING_S = 5.0  # a call that lived so long was a stream, if a silent one


class Resumption:
    """One request's way through its calls. Until an event has come, Generate (or WriteDocument) is repeated (its request_id makes that the same
    request); then Attach asks for the events that follow."""

    def __init__(self, request: pb.GenerateRequest | pb.WriteDocumentRequest | pb.AttachRequest, retry_for_s: float,
                 clock: Callable[[], float] = time.monotonic):
        self.request_id = request.request_id
        self._begin = None if isinstance(request, pb.AttachRequest) else request
        self._next_seq = 1 if self._begin else max(1, getattr(request, "from"))
        self._retry_for_s = retry_for_s
        self._clock = clock
        self._pause_s = 0.0
        self._trouble_at = self._opened_at = clock()

    def open(self) -> pb.GenerateRequest | pb.WriteDocumentRequest | pb.AttachRequest:
        """What to send now."""
        self._opened_at = self._clock()
        return self._begin or attach_request(self.request_id, self._next_seq)

    def saw(self, event: pb.GenerateEvent) -> None:
        self._next_seq = event.seq + 1
        self._begin = None
        self._pause_s = 0.0

    def pause_after(self, error: Error) -> float:
        """Seconds to wait before the next call; raises `error` when there is none."""
        # Nobody cancels here: CANCELLED in gRPC's own word is a call that a stopping server reset.
        was_reset = error.code == grpc.StatusCode.CANCELLED and error.message in ("CANCELLED", "")
        if error.code != grpc.StatusCode.UNAVAILABLE and not was_reset:
            raise error
        now = self._clock()
        lasted = now - self._opened_at > LASTING_S
        if lasted or self._pause_s == 0:
            self._trouble_at = now
        self._pause_s = FIRST_PAUSE_S if lasted else min(MAX_PAUSE_S, max(FIRST_PAUSE_S, 2 * self._pause_s))
        if now + self._pause_s > self._trouble_at + self._retry_for_s:
            raise error
        return self._pause_s
