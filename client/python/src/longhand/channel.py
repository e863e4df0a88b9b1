"""How a channel to a server is made."""
import grpc

MAX_MESSAGE_BYTES = 256 << 20  # pictures travel in one message
OPTIONS = (("grpc.max_send_message_length", MAX_MESSAGE_BYTES), ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
           # A server that restarts is found again soon.
           ("grpc.initial_reconnect_backoff_ms", 50), ("grpc.min_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 1000),
           # A host that is gone, or a network that forgets quiet connections, says nothing: pings find out.
           ("grpc.keepalive_time_ms", 10000), ("grpc.keepalive_timeout_ms", 20000), ("grpc.http2.ping_timeout_ms", 20000),
           ("grpc.http2.max_pings_without_data", 0))
REACH_S = 5.0  # to be connected


def credentials(tls: bool | bytes) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(tls if isinstance(tls, bytes) else None)


def metadata(api_key: str | None) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {api_key}"),) if api_key else ()
