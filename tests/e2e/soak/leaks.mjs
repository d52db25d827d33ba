// What a package that forgets to let go of something would do to a page: the soak must see each of them.
// Each takes the word of the platform away by which the package lets go. `LEAK=timers` plants one.

/** @type {Record<string, (house: import("../../js/house.mjs").House) => void>} */
export const LEAKS = {
  listeners: () => {
    EventTarget.prototype.removeEventListener = () => undefined;
  },
  timers: () => {
    window.clearInterval = () => undefined;
  },
  sockets: (house) => {
    const { disconnect } = house;
    house.disconnect = (socket) => {
      if (socket.device !== "tv") disconnect.call(house, socket);
    };
  },
  connections: () => {
    IDBDatabase.prototype.close = () => undefined;
  },
  channels: () => {
    BroadcastChannel.prototype.close = () => undefined;
  },
  commands: () => {
    const { delete: forget } = Map.prototype;
    Map.prototype.delete = function (key) {
      return typeof key === "number" && key > TICKET_MIN ? true : forget.call(this, key);
    };
  },
  frames: () => {
    /** @type {unknown[]} */
    const kept = [];
    const { remove } = HTMLIFrameElement.prototype;
    HTMLIFrameElement.prototype.remove = function () {
      kept.push(this.contentWindow);
      remove.call(this);
    };
  },
};

/** The name of a command is nearly always above it, nothing else that is forgotten by number is. */
const TICKET_MIN = 1_000_000_000;
