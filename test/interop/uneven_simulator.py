"""Counting environments whose episodes end one after another, lent through examples/remote_env.py; no package is needed.

    python uneven_simulator.py URL json|binary [fails]

Environment i sees how many steps its episode has, plus 10 i; its episodes last 3 + i steps. With `fails`, an episode's second step raises.
"""

import importlib.util
import json
import pathlib
import sys

path = pathlib.Path(__file__).parents[2] / "examples" / "remote_env.py"
spec = importlib.util.spec_from_file_location("remote_env", path)
remote_env = importlib.util.module_from_spec(spec)
spec.loader.exec_module(remote_env)


class Counting:
    spaces = {
        "protocol": 1,
        "task": "test/Counting",
        "agents": [
            {"name": "left", "observation": 1, "action": {"discrete": 2}},
            {"name": "right", "observation": 2, "action": {"discrete": 3}},
        ],
        "state": 3,
        "episode_limit": 10,
        "figures": ["won", "steps"],
    }

    def __init__(self, index, fails):
        self._index = index
        self._fails = fails
        self._steps = 0

    def reset(self, seed):
        self._steps = 0
        return self._view()

    def step(self, action):
        self._steps += 1
        if self._fails and self._steps == 2:
            raise ValueError("the simulator is broken")
        over = self._steps == 3 + self._index
        # Figures in another order than they were registered, as a dict of a task's own may be.
        return self._view(), self._steps, over, False, {"steps": self._steps, "won": self._index}

    def _view(self):
        mark = self._steps + 10 * self._index
        return {"observations": [[mark], [mark, 1]], "state": [mark, 2, 3]}


trainer = remote_env.Trainer(sys.argv[1], binary=sys.argv[2] == "binary")
environments = [Counting(index, "fails" in sys.argv) for index in range(2)]
print(json.dumps({"steps": remote_env.simulate(trainer, environments)}))
