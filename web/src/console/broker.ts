// What the console asks the broker, and orders it to do.

/** All that is told at once. */
export interface Overview {
  this: { version: string; store: string; uptimeSeconds: number; heldBytes: number };
  notReady?: string;
  cluster: { nodes: { node: string; version: string; sessions: number }[]; missing?: number };
  rooms: { rooms: { name: string; present: number }[]; count: number };
  queues: { queues: Queue[]; count: number };
}

export interface Queue {
  name: string;
  depth: number;
  out: number;
  consumers: number;
  oldestAgeMs?: number;
}

export interface Session {
  node: string;
  session: string;
  user?: string;
  destinations: string[];
  subscriptions: number;
}

/** Some sessions, and how many there are. */
export interface Found {
  sessions: Session[];
  count: number;
  missing?: number;
}

export const overview = (): Promise<Overview> => ask('/console/overview').then((answer) => answer.json());
export const metrics = (): Promise<string> => ask('/metrics').then((answer) => answer.text());

/** Sessions of a user, or the one of a name; without a name some of all. */
export async function sessions(by: string, name: string): Promise<Found> {
  const query = name === '' ? '' : `?${new URLSearchParams({ [by]: name })}`;
  return (await ask(`/console/sessions${query}`)).json();
}

/** Ends a session; how many were ended. */
export async function kick(session: string, reason: string): Promise<number> {
  const order = reason === '' ? { session } : { session, reason };
  const answer = await ask('/console/kick', {
    method: 'POST',
    // No page of another origin can send this header.
    headers: { 'Content-Type': 'application/json', 'X-Stompede-Console': '1' },
    body: JSON.stringify(order),
  });
  return (await answer.json()).sessions;
}

async function ask(path: string, request: RequestInit = {}): Promise<Response> {
  const answer = await fetch(path, { ...request, cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MS) });
  if (answer.ok) return answer;
  const problem: { detail?: string } = await answer.json().catch(() => ({}));
  throw new Error(problem.detail ?? `${path}: ${answer.status}`);
}

const PATIENCE_MS = 10_000;
