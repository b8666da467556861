"""Calls Triton's own Python clients as told: one JSON object a line in, one a line out. Judges nothing.

    python triton_drive.py http|http-aio|grpc|grpc-aio HOST:PORT[/BASE]

In:  {"call": "infer", "args": {"model_name": "team", "inputs": {"obs": {"datatype": "FP32", "shape": [1, 3], ...}}}}
Out: {"result": ...} or {"error": {"type": "InferenceServerException", "message": "...", "status": "404"}}

A call is a method of `InferenceServerClient`, or one of COMPOSED: what takes more than one method.
"""

import asyncio
import importlib
import json
import queue
import sys

import numpy as np
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tritonclient import utils

DTYPES = {"FP32": np.float32, "INT64": np.int64, "INT32": np.int32, "BYTES": np.object_}
WAIT_SECONDS = 20


class Driver:
    def __init__(self, flavour, url):
        self.transport, _, self.asynchronous = flavour.partition("-")
        self.module = importlib.import_module(f"tritonclient.{flavour.replace('-', '.')}")
        self.loop = asyncio.new_event_loop()
        self.url = url
        self.client = self.run(self.make())

    async def make(self):  # asyncio's clients want a running loop when they are made
        many = {"concurrency": 4} if self.transport == "http" and not self.asynchronous else {}
        return self.module.InferenceServerClient(self.url, **many)

    def run(self, value):
        return self.loop.run_until_complete(value) if asyncio.iscoroutine(value) else value

    def call(self, name, args):
        if name in COMPOSED:
            return COMPOSED[name](self, **args)
        if "inputs" in args:
            args = self.request(**args)
        return self.plain(self.run(getattr(self.client, name)(**args)))

    def request(self, inputs, outputs=None, **rest):
        """Keyword arguments of `infer`, with tensors as the client's own objects."""
        rest["inputs"] = [self.input(name, **tensor) for name, tensor in inputs.items()]
        if outputs is not None:
            rest["outputs"] = [self.module.InferRequestedOutput(**output) for output in outputs]
        return rest

    def input(self, name, datatype, shape, data=None, binary_data=None, region=None):
        tensor = self.module.InferInput(name, shape, datatype)
        if region is not None:
            return tensor.set_shared_memory(*region)
        values = np.array(data, DTYPES[datatype]).reshape(shape)
        if binary_data is None:
            return tensor.set_data_from_numpy(values)
        return tensor.set_data_from_numpy(values, binary_data=binary_data)

    def plain(self, value):
        """What a method returned, as JSON can hold it."""
        if isinstance(value, Message):
            return MessageToDict(value, preserving_proto_field_name=True)
        if not hasattr(value, "as_numpy"):
            return value
        response = self.plain(value.get_response())
        names = [output["name"] for output in response.get("outputs", [])]
        return {"response": response, "outputs": {name: tensor(value.as_numpy(name)) for name in names}}

    def answer(self, result, error):
        return {"result": self.plain(result)} if error is None else {"error": describe(error)}


def tensor(array):
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": array.flatten().tolist()}


def describe(error):
    status = error.status() if isinstance(error, utils.InferenceServerException) else None
    message = error.message() if isinstance(error, utils.InferenceServerException) else str(error)
    return {"type": type(error).__name__, "message": message, "status": status}


def attempt(driver, act):
    try:
        return driver.answer(act(), None)
    except utils.InferenceServerException as error:
        return driver.answer(None, error)


def async_infer(driver, requests):
    """All requests begun before the first answer is awaited; the answers in the order of the requests."""
    made = [driver.request(**request) for request in requests]
    if driver.asynchronous:
        return driver.run(gather(driver, made))
    if driver.transport == "http":
        begun = [driver.client.async_infer(**request) for request in made]
        return [attempt(driver, one.get_result) for one in begun]
    answers = [queue.Queue() for _ in made]
    for request, answered in zip(made, answers):
        driver.client.async_infer(callback=lambda result, error, at=answered: at.put((result, error)), **request)
    return [driver.answer(*answered.get(timeout=WAIT_SECONDS)) for answered in answers]


async def gather(driver, requests):
    answers = await asyncio.gather(*(driver.client.infer(**one) for one in requests), return_exceptions=True)
    failed = [answer if isinstance(answer, BaseException) else None for answer in answers]
    return [driver.answer(answer, error) for answer, error in zip(answers, failed)]


def stream(driver, requests, **options):
    """One bidirectional stream: every answer as it came, each named by its request's id."""
    made = [driver.request(**request) for request in requests]
    if driver.asynchronous:
        return driver.run(drain_stream(driver, made, options))
    answered = queue.Queue()
    driver.client.start_stream(callback=lambda result, error: answered.put((result, error)), **options)
    for request in made:
        driver.client.async_stream_infer(**request)
    answers = [driver.answer(*answered.get(timeout=WAIT_SECONDS)) for _ in made]
    driver.client.stop_stream()
    return answers


async def drain_stream(driver, requests, options):
    async def each():
        for request in requests:
            yield request

    return [driver.answer(*pair) async for pair in driver.client.stream_infer(each(), **options)]


def health(driver, service):
    """The standard health service over the same address."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(driver.url) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        reply = health_pb2_grpc.HealthStub(channel).Check(request, timeout=WAIT_SECONDS)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)


def use_token(driver, token):
    """From now on every call has the header, through the client's own plugin."""
    client_plugin = importlib.import_module("tritonclient._plugin").InferenceServerClientPlugin

    class Bearer(client_plugin):
        def __call__(self, request):
            request.headers["authorization"] = f"Bearer {token}"

    driver.client.register_plugin(Bearer())


def infer_body(driver, **args):
    """A request's body, made without the client sending anything."""
    request = driver.request(**args)
    body, json_size = driver.module.InferenceServerClient.generate_request_body(**request)
    return {"body": body.hex(), "json_size": json_size}


def parse_body(driver, body, json_size):
    """A reply that somebody else received."""
    made = driver.module.InferenceServerClient.parse_response_body(bytes.fromhex(body), header_length=json_size)
    return driver.plain(made)


COMPOSED = {
    "async_infer": async_infer,
    "stream": stream,
    "health": health,
    "use_token": use_token,
    "infer_body": infer_body,
    "parse_body": parse_body,
}


def main(flavour, url):
    driver = Driver(flavour, url)
    print(json.dumps({"result": utils.__name__}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            reply = {"result": driver.call(asked["call"], asked.get("args", {}))}
        except Exception as error:  # every failure is an answer: the other side judges it
            reply = {"error": describe(error)}
        print(json.dumps(reply), flush=True)
    driver.run(driver.client.close())


if __name__ == "__main__":
    main(*sys.argv[1:])
