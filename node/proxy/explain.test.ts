/** What an operator is told about a request: the route, what becomes of it, and why other routes do not take it. */
import test from 'ava'
import type { ConfigurationDocument } from '../config/schema.ts'
import { validateDocument } from '../config/validate.ts'
import { explainRoute, type RouteExplanation, type RouteQuestion } from './explain.ts'

function documentWith(routes: readonly object[], listener: object = {}): ConfigurationDocument {
  const checked = validateDocument({
    pools: [{ name: 'web' }, { name: 'new' }],
    listeners: [{ name: 'front', address: '127.0.0.1', port: 80, routes: routes.map((route, i) => ({ name: `r${i}`, ...route })), ...listener }],
  })
  if (!checked.ok) throw new Error(JSON.stringify(checked.problems))
  return checked.document
}
const question: RouteQuestion = { method: 'GET', target: '/a/b?c', host: 'a.example', headers: [], source: '192.0.2.1' }
function ask(routes: readonly object[], more: Partial<RouteQuestion> = {}, listener: object = {}): RouteExplanation {
  const document = documentWith(routes, listener)
  return explainRoute(document, document.listeners[0]!, { ...question, ...more })
}

test('the route, its pools and what the member is asked for', (t) => {
  const { routes: _, ...found } = ask([{ paths: ['/x'], pool: 'web' }, { paths: ['/a'], pools: [{ pool: 'web', weight: 9 }, { pool: 'new' }], rewrite: { prefix: '/y', host: 'inner' } }])
  t.deepEqual(found, {
    outcome: 'route', route: 'r1', action: 'pools', pools: [{ pool: 'web', weight: 9 }, { pool: 'new', weight: 1 }], status: 0, location: '', target: '/y/b?c', memberHost: 'inner',
  })
})

test('which rules of each route do not hold', (t) => {
  const { routes } = ask([
    { hosts: ['b.example'], paths: ['/a'], match: { methods: ['POST'], sources: ['10.0.0.0/8'] }, pool: 'web' },
    { match: { headers: [{ name: 'x' }], cookies: [{ name: 'y' }], query: [{ name: 'c' }] }, pool: 'web' },
    { pool: 'web' },
    { paths: ['/z'], pool: 'web' },
  ])
  t.deepEqual(routes, [
    { name: 'r0', matches: false, fails: ['hosts', 'methods', 'sources'] },
    { name: 'r1', matches: false, fails: ['headers', 'cookies'] },
    { name: 'r2', matches: true, fails: [] },
    { name: 'r3', matches: false, fails: ['paths'] },
  ])
})

test('no route, the default, and answers of the listener itself', (t) => {
  t.like(ask([]), { outcome: 'none', status: 404 })
  t.like(ask([], {}, { pool: 'web' }), { outcome: 'default', action: 'pools', pools: [{ pool: 'web', weight: 1 }], target: '/a/b?c' })
  t.like(ask([], { target: '/x/../y' }, { pool: 'web', normalizePath: 'forward' }), { outcome: 'default', target: '/y' })
  t.like(ask([{ redirect: { scheme: 'https', status: 301 } }]), { outcome: 'route', action: 'redirect', status: 301, location: 'https://a.example/a/b?c' })
  t.like(ask([{ respond: { status: 503 } }]), { action: 'respond', status: 503 })
  t.like(ask([{ pool: 'web' }], {}, { redirectToHttps: 8443 }), { action: 'redirect', status: 308, location: 'https://a.example:8443/a/b?c' })
})

test('what would be refused', (t) => {
  t.like(ask([{ paths: ['/a'], pool: 'web' }], { target: '/a/%2e%2e/b' }), { outcome: 'refused', status: 400 })
  for (const more of [{ target: 'a' }, { method: 'GE T' }, { host: 'a b' }, { headers: [{ name: 'x', value: 'y\r\nz: 1' }] }, { headers: [{ name: 'x y', value: '' }] }, { target: '/ /' }]) {
    t.like(ask([{ pool: 'web' }], more), { outcome: 'malformed', status: 400 }, JSON.stringify(more))
  }
})
