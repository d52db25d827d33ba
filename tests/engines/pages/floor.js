// What any package would have to do to show what is stored: opens the database, gets the lists, parses
// them, makes objects of their rows. Without checks, patches, events, or anything to write with.
window.OmegaSync = {
  open(options) {
    return new Promise((resolve, reject) => {
      const opening = indexedDB.open(`omega-sync:${options.device}`);
      opening.onerror = () => reject(opening.error);
      opening.onsuccess = () => {
        const meta = opening.result.transaction(["meta"]).objectStore("meta");
        const getting = meta.get("generation:lists");
        getting.onerror = () => reject(getting.error);
        getting.onsuccess = () => {
          const lists = getting.result;
          resolve({
            watchlist: {
              items: () =>
                JSON.parse(lists["watchlist:"]).map((row) => ({
                  content: row[0],
                  addedMs: row[1],
                })),
            },
            progress: {
              inProgress: () =>
                JSON.parse(lists["progress:"]).map((row) => ({
                  content: row[0],
                  positionSeconds: row[1],
                  durationSeconds: row[2],
                  state: row[3],
                  percent: row[4],
                  resumeSeconds: row[5],
                  updatedMs: row[6],
                })),
            },
          });
        };
      };
    });
  },
};
