// Numbers and times as people read them.

/** `41.0 °C`, or `no data`. */
export function celsius(value) {
  return value === null || value === undefined ? "no data" : `${value.toFixed(1)} °C`;
}

/** `38 %`, or a dash. */
export function percent(value) {
  return value === null || value === undefined ? "–" : `${Math.round(value)} %`;
}

/** `256 MiB`. */
export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit]}`;
}

/** `0.8 s`, `42 s`, `3 min`, `5 h`, `2 d`. */
export function duration(milliseconds) {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

/** The age of an RFC 3339 time in whole units: `0 s`, `42 s`, `3 min`. */
export function ageOf(time) {
  const milliseconds = Math.max(0, Date.now() - Date.parse(time));
  return milliseconds < 10_000 ? `${Math.floor(milliseconds / 1000)} s` : duration(milliseconds);
}

/** `14:03:27`, local time. */
export function clock(time) {
  return new Date(time).toLocaleTimeString([], { hour12: false });
}

/** A count with thin spaces between thousands. */
export function count(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** Splits a command line into words; quotes keep spaces together. */
export function words(text) {
  return [...text.matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2] ?? match[3]);
}
