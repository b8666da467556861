"""Drives a served team for one episode with Triton's own Python client: the server keeps each agent's memory.

    pip install tritonclient[http] numpy
    python examples/triton_client.py 127.0.0.1:8000 factored

Observations are random here; a simulator sends its own. A recurrent policy's state stays on the server, under the
sequence's id, from `sequence_start` to `sequence_end`; a policy without memory takes plain requests.
Letters: E environments, N agents, O observation, K actions.
"""

import json
import sys

import numpy as np
import tritonclient.http as triton


def main(address, model, envs=4, steps=5):
    client = triton.InferenceServerClient(address)
    declared = {one["name"]: one for one in client.get_model_metadata(model)["inputs"]}
    shape = [envs, *declared["obs"]["shape"][1:]]  # obs is [E, N, O]
    recurrent = "hidden_in" in declared
    random = np.random.default_rng(0)
    for step in range(steps):
        obs = triton.InferInput("obs", shape, "FP32")
        obs.set_data_from_numpy(random.standard_normal(shape, np.float32))
        memory = {"sequence_id": 1, "sequence_start": step == 0, "sequence_end": step == steps - 1}
        reply = client.infer(model, [obs], **(memory if recurrent else {}))
        action = reply.as_numpy("action")  # [E, N, K], as the simulator takes it
    print(json.dumps({"shape": list(action.shape), "recurrent": recurrent, "versions": reply.get_response().get("parameters", {})}))


if __name__ == "__main__":
    main(*sys.argv[1:3])
