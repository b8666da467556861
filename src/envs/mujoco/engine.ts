/**
 * MuJoCo itself, compiled to WebAssembly: loading it, compiling models, stepping. The only importer of
 * `@mujoco/mujoco`; it knows nothing of tasks, rewards or agents.
 */
import loadMujoco, { type DoubleBuffer, type MainModule, type MjData, type MjModel } from "@mujoco/mujoco";
import { LorasaError } from "../../base/errors.ts";

/** One copy of the engine in a thread; models are kept for its life, one for each text. */
let engine: Promise<MainModule> | undefined;
const models = new Map<string, MjModel>();

/** MuJoCo's arrays by what they hold, in its own order of bodies and joints. */
const ARRAYS = {
  position: "qpos",
  velocity: "qvel",
  control: "ctrl",
  /** [bodies, 10]: inertia about the tree's centre of mass, 6 numbers; mass times centre, 3; mass. */
  inertia: "cinert",
  /** [bodies, 6]: about and along three axes. */
  bodyVelocity: "cvel",
  /** [velocities]. */
  actuatorForce: "qfrc_actuator",
  /** [bodies, 6]: torque and force from contacts; only after {@link Simulation.settleForces}. */
  contactForce: "cfrc_ext",
  /** [bodies, 3]: where each body's frame is. */
  bodyPlace: "xpos",
  /** [bodies, 3]: where each body's centre of mass is. */
  massCentre: "xipos",
} as const satisfies Record<string, keyof MjData>;

type ArrayName = keyof typeof ARRAYS;

/** A compiled model and its moving state. Owns memory outside JavaScript's: `close` gives it back. */
export class Simulation {
  readonly #mujoco: MainModule;
  readonly #model: MjModel;
  readonly #data: MjData;
  readonly #stateBuffer: DoubleBuffer;
  readonly #stateKind: number;
  readonly #timestep: number;
  readonly #views = new Map<ArrayName, Float64Array>();
  #closed = false;

  /**
   * @param mjcf a model as MJCF text.
   * @throws LORASA_SIMULATOR when MuJoCo cannot be loaded, refuses the model or has no memory left.
   */
  static async create(mjcf: string): Promise<Simulation> {
    try {
      engine ??= loadMujoco({ print: () => {}, printErr: () => {} });
      return new Simulation(await engine, mjcf);
    } catch (cause) {
      throw new LorasaError("LORASA_SIMULATOR", {
        asked: "starting MuJoCo",
        received: (cause as Error).message.trim(),
        cause,
      });
    }
  }

  private constructor(mujoco: MainModule, mjcf: string) {
    this.#mujoco = mujoco;
    this.#model = compiledModel(mujoco, mjcf);
    this.#data = new mujoco.MjData(this.#model);
    // Everything that decides the next step, the solver's warm start included.
    this.#stateKind = mujoco.mjtState.mjSTATE_INTEGRATION.value;
    this.#stateBuffer = new mujoco.DoubleBuffer(mujoco.mj_stateSize(this.#model, this.#stateKind));
    this.#timestep = this.#model.opt.timestep;
  }

  /** float64: a live view of an array; take it again after any other call, since memory that grows moves. */
  view(name: ArrayName): Float64Array {
    const known = this.#views.get(name);
    // Memory that moved leaves views of length 0 behind.
    if (known !== undefined && known.length > 0) return known;
    const taken = this.#data[ARRAYS[name]] as Float64Array;
    this.#views.set(name, taken);
    return taken;
  }

  /** float64 [positions]: as {@link view}. */
  get positions(): Float64Array {
    return this.view("position");
  }

  /** float64 [velocities]: as {@link view}. */
  get velocities(): Float64Array {
    return this.view("velocity");
  }

  /** float64 [motors]: as {@link view}; clamped to the control range when it acts. */
  get controls(): Float64Array {
    return this.view("control");
  }

  /** float64 [bodies]: kilograms, the world's 0 first. */
  get masses(): Float64Array {
    return Float64Array.from(this.#model.body_mass as Float64Array);
  }

  /** Everything as the model describes it, at rest. */
  reset(): void {
    this.#mujoco.mj_resetData(this.#model, this.#data);
    // One step past zero, so that a clock that MuJoCo sets back is always behind: see step.
    this.#data.time = this.#timestep;
  }

  /** Computes what follows from positions and velocities after they were written. */
  forward(): void {
    this.#mujoco.mj_forward(this.#model, this.#data);
  }

  /**
   * Moves time on by `count` physics steps.
   * @returns false when the simulation diverged: MuJoCo has put itself back to its start then.
   */
  step(count: number): boolean {
    const mujoco = this.#mujoco;
    const before = this.#data.time;
    for (let i = 0; i < count; i++) mujoco.mj_step(this.#model, this.#data);
    // MuJoCo answers a number that is not finite or above 1e10 by a reset of its own, clock included.
    return this.#data.time > before + (count - 0.5) * this.#timestep;
  }

  /** Fills in the contact forces of the last physics step, which MuJoCo computes only when asked. */
  settleForces(): void {
    this.#mujoco.mj_rnePostConstraint(this.#model, this.#data);
  }

  /** Length of what {@link save} gives. */
  get stateSize(): number {
    return this.#stateBuffer.GetElementCount();
  }

  /** Writes the state into `target` from `offset` on: {@link restore} gives the same future bit for bit. */
  save(target: Float64Array, offset: number): void {
    this.#mujoco.mj_getState(this.#model, this.#data, this.#stateBuffer, this.#stateKind);
    target.set(this.#stateBuffer.GetView() as Float64Array, offset);
  }

  /** @param state as {@link save} wrote it, for the same model. */
  restore(state: Float64Array): void {
    const view = this.#stateBuffer.GetView() as Float64Array;
    view.set(state);
    // The binding takes any array; its declaration names only the plain one.
    this.#mujoco.mj_setState(this.#model, this.#data, view as unknown as number[], this.#stateKind);
  }

  get closed(): boolean {
    return this.#closed;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#data.delete();
    this.#stateBuffer.delete();
  }
}

function compiledModel(mujoco: MainModule, mjcf: string): MjModel {
  const known = models.get(mjcf);
  if (known !== undefined) return known;
  const model = mujoco.MjModel.from_xml_string(mjcf);
  models.set(mjcf, model);
  return model;
}
