"""Client of a Longhand server over gRPC. `Client` for threads, `AsyncClient` for asyncio; both carry a stream across lost
connections and servers that restart. The messages themselves are in `longhand.v1.generation_pb2`."""
from longhand.async_client import AsyncClient, AsyncStream
from longhand.client import Client, Stream
from longhand.errors import Error

__all__ = ["AsyncClient", "AsyncStream", "Client", "Error", "Stream"]
