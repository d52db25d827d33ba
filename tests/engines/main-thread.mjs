// What a page's main thread did, from the engine's own trace: processor time, which a busy machine does not
// stretch as it does time by the clock.

/** A task of the main thread, by the names of ten years. */
const TASKS = new Set([
  "TaskQueueManager::ProcessTaskFromWorkQueue",
  "ThreadControllerImpl::RunTask",
  "ThreadControllerImpl::DoWork",
  "RunTask",
]);
/** Longest wait for the end of a trace. */
const TRACE_WAIT_MS = 60_000;

/** Records one page's trace: its three functions are those of `runPage`. */
export class MainThread {
  /** @type {any[]} */
  #events = [];
  /** @type {() => void} */
  #complete = () => {};
  #completed = new Promise((resolve) => {
    this.#complete = () => resolve(undefined);
  });

  /** @param {string} method @param {any} params */
  event = (method, params) => {
    if (method === "Tracing.dataCollected") this.#events.push(...params.value);
    else if (method === "Tracing.tracingComplete") this.#complete();
  };

  /** @param {import("./devtools.mjs").Connection} devtools */
  prepare = async (devtools) => {
    const categories = "toplevel,blink.user_timing";
    await devtools.call("Tracing.start", { categories, transferMode: "ReportEvents" });
  };

  /** @param {import("./devtools.mjs").Connection} devtools */
  finish = async (devtools) => {
    await devtools.call("Tracing.end");
    const late = setTimeout(this.#complete, TRACE_WAIT_MS);
    await this.#completed;
    clearTimeout(late);
  };

  /**
   * Processor time between two marks of the page, in milliseconds: all of it, and the longest task. A task
   * counts as a whole, the one that sets the first mark too, unless `later` asks for those after it.
   * @param {string} from @param {string} to @param {boolean} [later]
   */
  between(from, to, later = false) {
    const [start, end] = [this.#mark(from), this.#mark(to)];
    const times = this.#events
      .filter(({ name, ph, ts, dur, pid, tid }) => {
        const task = ph === "X" && TASKS.has(name) && pid === start.pid && tid === start.tid;
        return task && ts + (later ? 0 : (dur ?? 0)) > start.ts && ts < end.ts;
      })
      .map(({ tdur, dur }) => (tdur ?? dur ?? 0) / 1_000);
    if (times.length === 0) throw new Error("the trace has no task of the main thread");
    return { busy: times.reduce((sum, time) => sum + time, 0), longest: Math.max(...times) };
  }

  /** @param {string} name */
  #mark(name) {
    const found = this.#events.find((event) => event.name === name);
    if (!found) throw new Error(`the trace has no mark ${name}`);
    return found;
  }
}
