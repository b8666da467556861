"""Runs one agent of a factored export in Python: the backbone graph and the agent's `.onnx_adapter`, no server.

    pip install onnxruntime numpy
    python examples/single_agent.py runs/quickstart/repository/factored agent_0

The adapter's tensors are ordinary inputs of the graph, so another agent is another file and the same session.
"""

import json
import pathlib
import sys

import numpy as np
import onnxruntime as ort


def adapter_parameters(path):
    # The values are views of the format object's memory: copy them while it lives.
    adapter = ort.AdapterFormat.read_adapter(str(path))
    return {name: value.numpy().copy() for name, value in adapter.get_parameters().items()}


def main(folder, agent, rows=2):
    folder = pathlib.Path(folder)
    manifest = json.loads((folder / "model.json").read_text())
    session = ort.InferenceSession(str(folder / manifest["graphs"]["single"]), providers=["CPUExecutionProvider"])
    feeds = adapter_parameters(folder / "adapters" / f"{agent}.onnx_adapter")
    feeds["obs"] = np.zeros((rows, manifest["observationSize"]), np.float32)
    if manifest["hiddenSize"]:
        feeds["hidden_in"] = np.zeros((rows, manifest["hiddenSize"]), np.float32)
    outputs = dict(zip([output.name for output in session.get_outputs()], session.run(None, feeds)))
    print(json.dumps({"action": outputs["action"].tolist()}))


if __name__ == "__main__":
    main(*sys.argv[1:3])
