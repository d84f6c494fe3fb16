import test from 'ava'
import type { ConfigurationDocument, Listener } from '../../config/schema.ts'
import { validateDocument } from '../../config/validate.ts'
import { explainRoute } from '../../proxy/explain.ts'
import type { Draft } from './draft.ts'
import { importHaproxy, importNginx } from './import.ts'

function documentOf(draft: Draft | string): ConfigurationDocument {
  if (typeof draft === 'string') throw new Error(draft)
  const result = validateDocument(draft.document())
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  return result.document
}

function notesOf(draft: Draft | string): string[] {
  return typeof draft === 'string' ? [draft] : draft.notes.map(({ kind, line }) => `${line} ${kind}`)
}

/** Pool or status that a request ends at. */
function takenBy(document: ConfigurationDocument, target: string, more: { host?: string; source?: string; method?: string; headers?: { name: string; value: string }[]; listener?: Listener } = {}): string {
  const listener = more.listener ?? document.listeners[0]!
  const view = explainRoute(document, listener, { method: more.method ?? 'GET', target, host: more.host ?? 'a.test', headers: more.headers ?? [], source: more.source ?? '192.0.2.1' })
  const route = listener.routes.find(({ name }) => name === view.route)
  if (route === undefined) return listener.pool ?? '404'
  return route.pool ?? String(route.respond?.status ?? route.redirect?.status ?? 'pools')
}

const haproxyBackends = ['x', 'y', 'z'].map((name, index) => `backend ${name}\n server s 127.0.0.${index + 2}:80\n`).join('')
const haproxy = (lines: string): Draft => importHaproxy(`defaults\n mode http\nfrontend f\n bind :8080\n${lines}\n default_backend z\n${haproxyBackends}`)

test('haproxy: a prefix of a path is one of characters', (t) => {
  const document = documentOf(haproxy(' use_backend x if { path_beg /api }'))
  t.is(takenBy(document, '/apix'), 'x')
  t.is(takenBy(document, '/ap'), 'z')
})

test('haproxy: what a rule excepts goes on to the rules behind it', (t) => {
  const document = documentOf(haproxy(' acl lan src 10.0.0.0/8\n http-request deny if { path_beg /a } !lan\n use_backend x if { path_beg /a/b }\n use_backend y if { hdr(host) -i y.test }'))
  t.is(takenBy(document, '/a/b'), '403')
  t.is(takenBy(document, '/a/b', { source: '10.1.1.1' }), 'x')
  t.is(takenBy(document, '/a', { source: '10.1.1.1', host: 'y.test' }), 'y')
  t.is(takenBy(document, '/a', { source: '10.1.1.1' }), 'z')
  t.is(takenBy(document, '/b', { host: 'y.test' }), 'y')
})

test('haproxy: unless is the opposite of a whole condition', (t) => {
  const document = documentOf(haproxy(' http-request deny unless { path_beg /ok } { method GET } or { src 10.0.0.0/8 }'))
  t.is(takenBy(document, '/ok'), 'z')
  t.is(takenBy(document, '/ok', { method: 'POST' }), '403')
  t.is(takenBy(document, '/no'), '403')
  t.is(takenBy(document, '/no', { source: '10.0.0.1' }), 'z')
})

test('haproxy: two tests of paths are joined where that can be said, and never become either of both', (t) => {
  const joined = documentOf(haproxy(' use_backend x if { path_beg /img/ } { path_end .png .gif }'))
  t.is(takenBy(joined, '/img/a.png'), 'x')
  t.is(takenBy(joined, '/img/a.jpg'), 'z')
  t.is(takenBy(joined, '/a.png'), 'z')
  const draft = haproxy(' use_backend x if { path_reg ^/a } { path_sub b }')
  t.true(notesOf(draft).includes('5 skipped'))
  t.is(takenBy(documentOf(draft), '/ab'), 'z')
})

test('haproxy: a rule that cannot be said is not half taken over', (t) => {
  const draft = haproxy(' http-request deny if { path_reg ^/a } !{ path_sub b }\n use_backend x if { nbsrv(y) lt 1 }\n http-request deny if missing')
  t.deepEqual(notesOf(draft).filter((note) => note.includes('skipped')), ['5 skipped', '6 skipped', '7 skipped'])
  t.is(takenBy(documentOf(draft), '/a'), 'z')
  t.is(takenBy(documentOf(draft), '/ab'), 'z')
})

test('haproxy: acls of the same name are alternatives; a negated one excludes them all', (t) => {
  const document = documentOf(haproxy(' acl mine path_beg /a\n acl mine path_end .b\n use_backend x if mine\n use_backend y if !mine METH_GET'))
  t.is(takenBy(document, '/a'), 'x')
  t.is(takenBy(document, '/z.b'), 'x')
  t.is(takenBy(document, '/z'), 'y')
  t.is(takenBy(document, '/z', { method: 'POST' }), 'z')
})

test('haproxy: `accept` alone locks nobody out', (t) => {
  const head = 'listen l\n bind :90\n server s 127.0.0.1:91\n'
  t.is(documentOf(importHaproxy(`${head} tcp-request connection accept if { src 10.0.0.0/8 }\n`)).listeners[0]!.allow, undefined)
  const closed = documentOf(importHaproxy(`${head} tcp-request connection accept if { src 10.0.0.0/8 }\n tcp-request connection reject\n`))
  t.deepEqual(closed.listeners[0]!.allow, ['l-allow'])
  t.deepEqual(closed.accessLists, [{ name: 'l-allow', prefixes: ['10.0.0.0/8'] }])
})

test('haproxy: rates are found by the table of their name, also through an acl', (t) => {
  const draft = haproxy(' http-request track-sc0 src table rates\n acl fast sc_http_req_rate(0,rates) ge 20\n http-request deny if fast\nbackend rates\n stick-table type ip size 1m expire 10m store http_req_rate(10s)\nfrontend g\n bind :8081')
  const document = documentOf(draft)
  t.like(document.listeners[0]!.rateLimit, { requests: 19, per: '10s' })
  t.deepEqual(document.pools.map(({ name }) => name), ['x', 'y', 'z'], 'a table is no pool')
})

test('haproxy: servers that differ in what is a matter of the pool get a note', (t) => {
  const draft = importHaproxy('listen l\n bind :90\n server a 127.0.0.1:91 ssl verify none\n server b 127.0.0.1:92\n server c name.test:93\n server d 127.0.0.1:91\n')
  t.true(notesOf(draft).includes('4 differs'))
  t.true(notesOf(draft).includes('5 skipped'))
  t.true(notesOf(draft).includes('6 skipped'))
  t.deepEqual(documentOf(draft).pools[0]!.members.map(({ name }) => name), ['a', 'b'])
})

test('haproxy: an address of both families is one listener', (t) => {
  const document = documentOf(importHaproxy('listen l\n bind :90\n bind :::90 v6only\n server s 127.0.0.1:91\n'))
  t.deepEqual(document.listeners.map(({ address, port }) => [address, port]), [['::', 90]])
})

test('haproxy: without a backend the answer is 503', (t) => {
  const document = documentOf(importHaproxy('frontend f\n mode http\n bind :90\n use_backend x if { path /a }\nbackend x\n server s 127.0.0.1:91\n'))
  t.is(takenBy(document, '/b'), '503')
})

test('haproxy: a second edit of a header field counts, and what Haechi writes itself is left to it', (t) => {
  const draft = haproxy(' http-response set-header X-A 1\n http-response set-header x-a 2\n http-response set-header Via x\n http-response add-header Set-Cookie a=b\n http-request set-header X-C %[src]')
  t.deepEqual(documentOf(draft).listeners[0]!.headers?.setResponse, [{ name: 'x-a', value: '2' }])
  for (const line of [7, 8, 9]) t.true(notesOf(draft).includes(`${line} skipped`))
})

const nginx = (inside: string): Draft | string => importNginx(`http { upstream a { server 127.0.0.2:80; } upstream b { server 127.0.0.3:80; } upstream c { server 127.0.0.4:80; }\nserver { listen 8080;\n${inside}\n} }`)

test('nginx: locations are chosen as nginx does', (t) => {
  const document = documentOf(nginx(`
    location / { proxy_pass http://a; }
    location ~ \\.x$ { proxy_pass http://b; }
    location ~ ^/p/ { proxy_pass http://c; }
    location /p/q { proxy_pass http://a; }
    location ^~ /s { proxy_pass http://c; }
    location = /p/e.x { return 204; }`))
  t.is(takenBy(document, '/p/e.x'), '204')
  t.is(takenBy(document, '/p/f.x'), 'b', 'the first expression')
  t.is(takenBy(document, '/p/q'), 'c', 'an expression before a prefix')
  t.is(takenBy(document, '/s/f.x'), 'c', '^~ before expressions')
  t.is(takenBy(document, '/sx'), 'c')
  t.is(takenBy(document, '/'), 'a')
})

test('nginx: `deny` after `return` is never asked; in front of proxy_pass it is', (t) => {
  const document = documentOf(nginx('location /r { deny all; return 200; }\nlocation /d { deny 10.0.0.0/8; proxy_pass http://a; }\nlocation ~ /\\.ht { deny all; }'))
  t.is(takenBy(document, '/r'), '200')
  t.is(takenBy(document, '/d', { source: '10.1.1.1' }), '403')
  t.is(takenBy(document, '/d'), 'a')
  t.is(takenBy(document, '/.htaccess'), '403')
})

test('nginx: what a location says of the whole listener gets a note and changes nothing', (t) => {
  const draft = nginx('location / { keepalive_timeout 7s; limit_conn z 3; proxy_pass http://a; }')
  t.is(notesOf(draft).filter((note) => note === '3 skipped').length, 1)
  const [listener] = documentOf(draft).listeners
  t.is(listener!.clientKeepAlive, '60s')
  t.is(listener!.maxConnectionsPerSource, undefined)
})

test('nginx: names of servers keep the case of expressions, and http and TLS servers of one name are two listeners', (t) => {
  const draft = importNginx('http { ssl_certificate x.pem; ssl_certificate_key x.key;\nserver { listen 80; listen 443 ssl; listen [::]:80; server_name ~^\\D+\\.test$; if ($scheme = http) { return 301 https://$host$request_uri; } return 204; } }')
  const document = documentOf(draft)
  t.deepEqual(document.listeners.map(({ address, port, protocol }) => `${address} ${port} ${protocol}`), [':: 80 http', '0.0.0.0 443 https'])
  t.deepEqual(document.listeners[1]!.tls?.certificates, ['x'])
  t.is(takenBy(document, '/'), '301')
  t.is(takenBy(document, '/', { listener: document.listeners[1]! }), '204')
})

test('nginx: a file of conf.d is read as the inside of an http block', (t) => {
  t.is(takenBy(documentOf(importNginx('upstream a { server 127.0.0.2:80; }\nserver { listen 81; location / { proxy_pass http://a; } }')), '/'), 'a')
})

test('nginx: blocks that are not understood are noted with everything in them', (t) => {
  const draft = nginx('location / { proxy_pass http://a;\nif ($cookie_a) { set $b c;\nbreak; }\nlimit_except GET {\ndeny all; }\n}')
  for (const line of [4, 5, 6, 7]) t.true(notesOf(draft).includes(`${line} skipped`), String(line))
})

test('nginx: an upstream that nobody uses, and one that is not there', (t) => {
  const draft = importNginx('http {\nupstream a { server 127.0.0.2:80; }\nserver { listen 80;\nlocation / { proxy_pass http://nowhere; } } }')
  t.deepEqual(notesOf(draft).filter((note) => note.includes('skipped')), ['2 skipped', '4 skipped'])
  t.is(takenBy(documentOf(draft), '/'), '404')
})
