/** Making and filling DOM elements: state in, DOM out. */

/** An element with its class, its name in tests, and its children. */
export function element(
  tag: string,
  className: string,
  children: readonly (Node | string)[] = [],
  testId?: string,
): HTMLElement {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  if (testId !== undefined) made.dataset.testid = testId;
  return made;
}

/** Sets text only when it differs, so that nothing is laid out again for nothing. */
export function setText(target: HTMLElement, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

/** Puts exactly these children there, in this order, moving as little as possible. */
export function setChildren(parent: HTMLElement, wanted: readonly HTMLElement[]): void {
  const keep = new Set<Element>(wanted);
  for (const child of Array.from(parent.children)) if (!keep.has(child)) child.remove();
  wanted.forEach((child, at) => {
    const present = parent.children[at];
    if (present !== child) parent.insertBefore(child, present ?? null);
  });
}

/** One full screen of the TV. */
export interface Screen {
  readonly element: HTMLElement;
  /** The lists may have changed. */
  update(): void;
  /** A key of the remote. */
  press(key: import("./focus.js").RemoteKey): void;
  /** It goes away. */
  leave(): void;
}
