
// The end of /fanfare.mjs: what makes a module of fanfare.js, which is before it. A module has no
// `document.currentScript`; where it came from, it is told here.
globalThis.fanfare.server = import.meta.url;
export const { subscribe } = globalThis.fanfare;
