"""The client for asyncio."""
import asyncio
from collections.abc import AsyncIterator, Iterable

import grpc

from longhand import channel as channels
from longhand.answer import Answer
from longhand.errors import Error, unreachable
from longhand.requests import attach_request, document_request, generate_request
from longhand.resumption import Resumption
from longhand.v1 import cluster_pb2, cluster_pb2_grpc, generation_pb2, generation_pb2_grpc


class AsyncClient:
    """`Client`, for the event loop it is made in; the same fields and rules."""

    def __init__(self, endpoint: str, *, api_key: str | None = None, tls: bool | bytes = False, retry_for_s: float = 60.0):
        self.endpoint = endpoint
        self.retry_for_s = retry_for_s
        self._channel = (grpc.aio.secure_channel(endpoint, channels.credentials(tls), channels.OPTIONS) if tls
                         else grpc.aio.insecure_channel(endpoint, channels.OPTIONS))
        self._metadata = channels.metadata(api_key)
        self._generation = generation_pb2_grpc.GenerationStub(self._channel)
        self._cluster = cluster_pb2_grpc.ClusterStub(self._channel)
        self._reached = False

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_) -> None:
        await self.close()

    async def close(self) -> None:
        await self._channel.close()

    def generate(self, prompt: str | None = None, **fields) -> "AsyncStream":
        return self._stream(generate_request(prompt, **fields))

    def write_document(self, instruction: str, **fields) -> "AsyncStream":
        return self._stream(document_request(instruction, **fields))

    def attach(self, request_id: str, from_seq: int = 1) -> "AsyncStream":
        return self._stream(attach_request(request_id, from_seq))

    async def cancel(self, request_id: str) -> None:
        await self._ask(self._generation.Cancel, generation_pb2.CancelRequest(request_id=request_id))

    async def tokenize(self, text: str, *, parse_control: bool = False) -> list[int]:
        return list((await self._ask(self._generation.Tokenize,
                                     generation_pb2.TokenizeRequest(text=text, parse_control=parse_control))).ids)

    async def detokenize(self, ids: Iterable[int], *, skip_special_tokens: bool = False) -> str:
        return (await self._ask(self._generation.Detokenize,
                                generation_pb2.DetokenizeRequest(ids=ids, skip_special_tokens=skip_special_tokens))).text

    async def status(self) -> cluster_pb2.GetStatusResponse:
        return await self._ask(self._cluster.GetStatus, cluster_pb2.GetStatusRequest())

    async def _ask(self, call, request):
        await self._reach()
        try:
            return await call(request, metadata=self._metadata)
        except grpc.RpcError as error:
            raise Error.from_grpc(error) from None

    def _stream(self, request) -> "AsyncStream":
        return AsyncStream(self, Resumption(request, self.retry_for_s))

    async def _open(self, request):
        await self._reach()
        call = {generation_pb2.AttachRequest: self._generation.Attach, generation_pb2.GenerateRequest: self._generation.Generate,
                generation_pb2.WriteDocumentRequest: self._generation.WriteDocument}[type(request)]
        return call(request, metadata=self._metadata)

    async def _reach(self) -> None:
        """Connects for the first time, or fails as soon as that has failed."""
        if self._reached:
            return
        try:
            async with asyncio.timeout(channels.REACH_S):
                state = self._channel.get_state(try_to_connect=True)
                while state in (grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING):
                    await self._channel.wait_for_state_change(state)
                    state = self._channel.get_state(try_to_connect=True)
        except TimeoutError:
            raise unreachable(self.endpoint) from None
        if state is not grpc.ChannelConnectivity.READY:
            raise unreachable(self.endpoint)
        self._reached = True


class AsyncStream(AsyncIterator):
    """Events of one request, each once; one task at a time. What they add up to is in `answer`."""

    def __init__(self, client: AsyncClient, resumption: Resumption):
        self.request_id = resumption.request_id
        self.answer = Answer()
        self._client = client
        self._resumption = resumption
        self._call = None
        self._closed = False

    async def __aenter__(self) -> "AsyncStream":
        return self

    async def __aexit__(self, *_) -> None:
        self.close()

    async def __anext__(self) -> generation_pb2.GenerateEvent:
        while not self._closed:
            try:
                if self._call is None:
                    self._call = await self._client._open(self._resumption.open())
                event = await self._call.read()
                if event is grpc.aio.EOF:
                    self._closed = True
                    break
            except asyncio.CancelledError:
                if self._closed and not asyncio.current_task().cancelling():
                    break  # by close(), from another task
                raise
            except grpc.RpcError as error:
                self._call = None
                await asyncio.sleep(self._resumption.pause_after(Error.from_grpc(error)))
                continue
            self._resumption.saw(event)
            self.answer.add(event)
            return event
        raise StopAsyncIteration

    async def read(self) -> Answer:
        """To the end."""
        async for _ in self:
            pass
        return self.answer

    def close(self) -> None:
        """Stops reading. A request that was not to keep running ends."""
        self._closed = True
        if self._call is not None:
            self._call.cancel()
