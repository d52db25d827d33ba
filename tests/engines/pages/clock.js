window.scriptStart = performance.now();
