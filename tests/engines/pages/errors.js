// First of all scripts: an error in another one, of syntax even, is a verdict.
window.onerror = (message) => {
  window.__result = `FAIL ${message}`;
};
