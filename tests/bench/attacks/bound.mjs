// The bound of docs/security.md on what memory a server takes.

/** A server without connections. */
export const REST_BYTES = 64 * 1024 * 1024;
/** What each connection may cost on top of that, if its household does nothing unusual. */
export const CONNECTION_BYTES = 64 * 1024;
