/** The edits that the editors make, as functions from document to document, and new objects with the defaults. Pure. */
import type { ConfigurationDocument, Failover, HealthCheck, Listener, Member, Pool, Route, Vip } from '../../../node/api/types.ts'

type Change = (document: ConfigurationDocument) => ConfigurationDocument

const replace = <T extends { readonly name: string }>(list: readonly T[], name: string, change: (item: T) => T): T[] =>
  list.map((item) => (item.name === name ? change(item) : item))

export const putPool = (pool: Pool): Change => (d) => ({ ...d, pools: [...d.pools, pool] })
export const changePool = (name: string, fields: Partial<Pool>): Change => (d) => ({ ...d, pools: replace(d.pools, name, (p) => ({ ...p, ...fields })) })
export const editPool = (name: string, change: (pool: Pool) => Pool): Change => (d) => ({ ...d, pools: replace(d.pools, name, change) })
export const removePool = (name: string): Change => (d) => ({ ...d, pools: d.pools.filter((p) => p.name !== name) })
export const putListener = (listener: Listener): Change => (d) => ({ ...d, listeners: [...d.listeners, listener] })
export const changeListener = (name: string, change: (listener: Listener) => Listener): Change => (d) => ({ ...d, listeners: replace(d.listeners, name, change) })
export const removeListener = (name: string): Change => (d) => ({ ...d, listeners: d.listeners.filter((l) => l.name !== name) })
export const putVip = (vip: Vip): Change => (d) => ({ ...d, vips: [...d.vips, vip] })
export const changeVip = (name: string, change: (vip: Vip) => Vip): Change => (d) => ({ ...d, vips: replace(d.vips, name, change) })
export const removeVip = (name: string): Change => (d) => ({ ...d, vips: d.vips.filter((v) => v.name !== name) })

/** An empty `preferredNode` is nobody: then there is nothing to say about failover. */
export const changeFailover = (fields: Partial<Failover>): Change => ({ failover, ...d }) => {
  const next = { ...newFailover(), ...failover, ...fields }
  return (next.preferredNode ?? '') === '' ? d : { ...d, failover: next }
}

/** The object with another value of an optional field; `undefined`: without it, which is its default. */
export function withOptional<T extends object, K extends keyof T>(object: T, field: K, value: T[K] | undefined): T {
  const { [field]: _, ...others } = object
  return (value === undefined ? others : { ...others, [field]: value }) as T
}

/** Every pool that a route names. */
export const poolsOfRoute = (route: Route): string[] =>
  [route.pool, ...(route.pools ?? []).map(({ pool }) => pool), route.mirror?.pool].filter((pool) => pool !== undefined)

function renameInRoute(route: Route, name: string, next: string): Route {
  return {
    ...route,
    ...(route.pool === name ? { pool: next } : {}),
    ...(route.pools === undefined ? {} : { pools: route.pools.map((share) => (share.pool === name ? { ...share, pool: next } : share)) }),
    ...(route.mirror?.pool === name ? { mirror: { ...route.mirror, pool: next } } : {}),
  }
}

/** Renames a pool together with everything that names it. */
export const renamePool = (name: string, next: string): Change => (d) => ({
  ...d,
  pools: replace(d.pools, name, (p) => ({ ...p, name: next })),
  listeners: d.listeners.map((l) => ({
    ...l,
    ...(l.pool === name ? { pool: next } : {}),
    routes: l.routes.map((r) => renameInRoute(r, name, next)),
  })),
})
export const renameVip = (name: string, next: string): Change => (d) => ({
  ...d,
  vips: replace(d.vips, name, (v) => ({ ...v, name: next })),
  listeners: d.listeners.map((l) => (l.vip === name ? { ...l, vip: next } : l)),
})
export const renameListener = (name: string, next: string): Change => changeListener(name, (l) => ({ ...l, name: next }))

/** Names of the listeners that send traffic to the pool. */
export const usersOfPool = (document: ConfigurationDocument, pool: string): string[] =>
  document.listeners.filter((l) => l.pool === pool || l.routes.some((r) => poolsOfRoute(r).includes(pool))).map((l) => l.name)
export const usersOfVip = (document: ConfigurationDocument, vip: string): string[] =>
  document.listeners.filter((l) => l.vip === vip).map((l) => l.name)

/** `name`, or `name-2`, `name-3` …: the first that is free. */
export function freeName(wanted: string, taken: readonly { readonly name: string }[]): string {
  const names = new Set(taken.map((item) => item.name))
  if (!names.has(wanted)) return wanted
  for (let n = 2; ; n++) if (!names.has(`${wanted}-${n}`)) return `${wanted}-${n}`
}

// The defaults of the schema (node/config/schema.ts), written out so that a new object shows what will be in force.
export const newHealthCheck = (): HealthCheck => ({
  type: 'tcp', path: '/', host: '', expectStatus: '200-399', interval: '2s', timeout: '2s', rise: 2, fall: 3,
})
export const newMember = (name: string): Member => ({ name, address: '', port: 80, weight: 1, state: 'enabled' })
export const newPool = (name: string): Pool => ({
  name, balance: 'round-robin', members: [], healthCheck: newHealthCheck(), connectTimeout: '5s', serverIdleTimeout: '60s',
  retries: 2, maxIdleConnections: 128, keepAlive: '30s',
})
export const newRoute = (name: string, pool: string): Route => ({ name, hosts: [], paths: [], pool })
export const newVip = (name: string): Vip => ({ name, address: '', mode: 'active-passive', interface: '' })
export const newFailover = (): Failover => ({ preempt: false, preemptDelay: '30s' })
export const newListener = (name: string): Listener => ({
  name, port: 80, protocol: 'http', routes: [], requestHeadTimeout: '15s', clientKeepAlive: '60s', clientIdleTimeout: '60s',
  tunnelTimeout: '1h', maxConnections: 10000, maxHeadBytes: 65536, maxHeaders: 100, forwardedHeaders: 'replace',
})

/** A document that the node found valid, with the defaults written out that its text left out. */
export function completed(document: ConfigurationDocument): ConfigurationDocument {
  return {
    ...document,
    haechi: document.haechi ?? 1,
    vips: (document.vips ?? []).map((vip) => ({ ...newVip(vip.name), ...vip })),
    pools: (document.pools ?? []).map((pool) => ({
      ...newPool(pool.name),
      ...pool,
      members: (pool.members ?? []).map((member) => ({ ...newMember(member.name), ...member })),
      healthCheck: { ...newHealthCheck(), ...pool.healthCheck },
    })),
    listeners: (document.listeners ?? []).map((listener) => ({
      ...newListener(listener.name),
      ...listener,
      routes: (listener.routes ?? []).map((route) => ({ ...route, hosts: route.hosts ?? [], paths: route.paths ?? [] })),
    })),
    ...(document.failover === undefined ? {} : { failover: { ...newFailover(), ...document.failover } }),
  }
}
