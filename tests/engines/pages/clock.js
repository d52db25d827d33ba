window.scriptStart = performance.now();
performance.mark("script-start");
