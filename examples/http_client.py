"""Asks a lorasa server for a team's actions, with nothing but Python's standard library.

    python examples/http_client.py http://127.0.0.1:8000 factored

Observations are random here; a simulator sends its own, as it produced them, and applies the actions as they come.
Letters: E environments, N agents, O observation, K actions.
"""

import json
import random
import sys
import urllib.request


def ask(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data=data)) as reply:
        return json.load(reply)


def tensor(name, shape, values):
    return {"name": name, "datatype": "FP32", "shape": shape, "data": values}


def main(server, model, envs=4):
    metadata = ask(f"{server}/v2/models/{model}")
    inputs = []
    for declared in metadata["inputs"]:
        shape = [envs if size < 0 else size for size in declared["shape"]]  # obs is [E, N, O]
        count = shape[0] * shape[1] * shape[2]
        # A recurrent policy's first state is zeros; later ones are its own hidden_out.
        draw = (lambda: random.uniform(-1, 1)) if declared["name"] == "obs" else (lambda: 0.0)
        inputs.append(tensor(declared["name"], shape, [draw() for _ in range(count)]))
    reply = ask(f"{server}/v2/models/{model}/infer", {"inputs": inputs})
    action = next(output for output in reply["outputs"] if output["name"] == "action")
    print(json.dumps({"shape": action["shape"], "versions": reply.get("parameters", {})}))


if __name__ == "__main__":
    main(*sys.argv[1:3])
