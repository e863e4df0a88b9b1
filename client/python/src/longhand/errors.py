"""What a server refuses, or what is the matter with reaching it."""
import grpc


class Error(Exception):
    """`code` is a grpc.StatusCode, `message` says what was seen and what is allowed, `retry_after` is in seconds or None."""

    def __init__(self, code: grpc.StatusCode, message: str, retry_after: float | None = None):
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message
        self.retry_after = retry_after

    @classmethod
    def from_grpc(cls, error: grpc.RpcError) -> "Error":
        seconds = next((value for key, value in error.trailing_metadata() or () if key == "retry-after"), None)
        return cls(error.code(), error.details() or "", None if seconds is None else float(seconds))


def unreachable(endpoint: str) -> Error:
    return Error(grpc.StatusCode.UNAVAILABLE, f"{endpoint} cannot be reached")
