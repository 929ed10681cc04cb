globalThis.fanfare.server = import.meta.url;
export const { connect, subscribe } = globalThis.fanfare;
