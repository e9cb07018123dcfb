// Calls to the public REST API, same origin, with the session cookie.

/** What the API answered when it refused: RFC 9457 problem details, or the reply of the supervisor of a rack in a box. */
export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.message || problem.title || `the controller answered ${status}`);
    this.status = status;
    this.code = problem.code ?? "";
    this.field = problem.field ?? null;
  }
}

async function call(method, path, body, headers = {}) {
  const options = { method, headers: { Accept: "application/json", ...headers }, credentials: "same-origin" };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await fetch(path, options);
  const text = await response.text();
  let value = null;
  try {
    value = text === "" ? null : JSON.parse(text);
  } catch {
    if (response.ok) throw new Error(`${method} ${path}: the answer is not JSON`);
  }
  if (!response.ok) throw new ApiError(response.status, value ?? {});
  return value;
}

const segment = encodeURIComponent;

export const signIn = (token) => call("POST", "/v1/session", { token });
export const signOut = () => call("DELETE", "/v1/session");
export const about = () => call("GET", "/v1/");
export const rack = () => call("GET", "/v1/rack");
export const images = () => call("GET", "/v1/images?limit=1000");
export const instances = (limit) => call("GET", `/v1/instances?limit=${limit}`);
export const node = (name) => call("GET", `/v1/nodes/${segment(name)}`);
export const placement = (name) => call("GET", `/v1/instances/${segment(name)}/placement`);
export const launch = (body) =>
  call("POST", "/v1/instances", body, { "Idempotency-Key": crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}` });
export const start = (name) => call("POST", `/v1/instances/${segment(name)}/start`);
export const stop = (name) => call("POST", `/v1/instances/${segment(name)}/stop`);
export const remove = (name) => call("DELETE", `/v1/instances/${segment(name)}`);
export const power = (name, action) => call("POST", `/v1/nodes/${segment(name)}/power`, { action });
export const setEligibility = (name, eligibility) => call("PATCH", `/v1/nodes/${segment(name)}`, { eligibility });
export const drain = (name) => call("POST", `/v1/nodes/${segment(name)}/drain`);
export const dev = (command) => call("POST", "/v1/dev/commands", command);

/** Every item of a list, page by page. */
async function every(path) {
  const items = [];
  let cursor = null;
  do {
    const page = await call("GET", cursor === null ? `${path}?limit=1000` : `${path}?limit=1000&cursor=${segment(cursor)}`);
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor !== null);
  return items;
}

export const events = () => every("/v1/events");
export const alerts = () => every("/v1/alerts");
export const approve = (id) => call("POST", `/v1/actions/${segment(id)}/approve`);
export const acknowledge = (id) => call("POST", `/v1/alerts/${segment(id)}/acknowledge`);
