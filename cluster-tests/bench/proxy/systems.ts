/**
 * The proxies that are compared, each with a configuration that does the same work: routes by host and path, timeouts, health
 * checks, forwarded-for, counters; and with all features on an access log in a file (each in its own usual format), a request id, a
 * trace context, a field added to answers, a deny list, a rate limit and a limit of connections for each client address. One worker
 * or thread each. Where they differ HAProxy has the cheaper part: a shorter line of text, a trace context that is no valid one.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..', '..', '..')

export const backendPort = 21_080
export const echoPort = 21_082
export const ports = { http: 21_081, tls: 21_083, tcp: 21_084, socket: 21_085 } as const
export const smallBody = 'x'.repeat(96)
export const largeBytes = 100_000

export interface System {
  readonly name: 'haproxy' | 'nginx' | 'haechi'
  readonly argv: readonly string[]
}

/** A self-signed P-256 certificate: `site.pem` (chain and key), `site.crt`, `site.key`. */
function makeCertificate(folder: string): void {
  mkdirSync(folder)
  const crt = join(folder, 'site.crt')
  const key = join(folder, 'site.key')
  const made = spawnSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '30', '-subj', '/CN=bench.example',
    '-addext', 'subjectAltName=DNS:bench.example', '-keyout', key, '-out', crt,
  ])
  if (made.status !== 0) throw new Error(`openssl: ${made.stderr.toString()}`)
  spawnSync('sh', ['-c', `cat ${crt} ${key} > ${join(folder, 'site.pem')}`])
}

/** HAProxy that answers by itself on two addresses: the servers of both members. */
export function backendConfiguration(folder: string): string {
  const file = join(folder, 'backend.cfg')
  const large = join(folder, 'large')
  writeFileSync(large, 'y'.repeat(largeBytes))
  writeFileSync(file, `global
  nbthread 1
  maxconn 8000
  tune.bufsize 131072
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  timeout http-keep-alive 60s
frontend backend
  bind 127.0.0.1:${backendPort}
  bind 127.0.0.2:${backendPort}
  http-request return status 200 content-type application/octet-stream file ${large} if { path /large }
  http-request return status 200 content-type text/plain string ${smallBody}
`)
  return file
}

export type Features = 'all' | 'few'

/** Prefixes that nobody here comes from. */
function deniedPrefixes(): string[] {
  return Array.from({ length: 1000 }, (_, i) => `198.${18 + (i >> 9)}.${(i >> 1) & 255}.${(i & 1) * 128}/25`)
}

/** @param features few: no access log, ids, traces, edits or limits */
export function systems(folder: string, features: Features): System[] {
  makeCertificate(join(folder, 'certificates'))
  const pem = join(folder, 'certificates', 'site.pem')
  writeFileSync(join(folder, 'denied.txt'), `${deniedPrefixes().join('\n')}\n`)
  return [haproxy(folder, pem, features), nginx(folder, features), haechi(folder, features)]
}

function haproxy(folder: string, pem: string, features: Features): System {
  const all = features === 'all'
  const file = join(folder, 'haproxy.cfg')
  const connections = all
    ? `  stick-table type ip size 100k expire 30s store conn_cur,conn_rate(1s)
  tcp-request connection reject if { src -f ${join(folder, 'denied.txt')} }
  tcp-request connection track-sc0 src
  tcp-request connection reject if { sc_conn_cur(0) gt 100000 }
`
    : ''
  const rules = `${connections}  http-request set-header X-Forwarded-Proto http
${all
    ? `  unique-id-format %[uuid]
  unique-id-header X-Request-Id
  http-request track-sc1 src table rates
  http-request deny deny_status 429 if { sc_http_req_rate(1) gt 1000000 }
  http-request set-header traceparent 00-%[uuid]-%[rand]-01 unless { req.hdr(traceparent) -m found }
  http-response set-header X-Served-By bench
`
    : ''}  use_backend other if { hdr(host) -i other.example }
  use_backend other if { path_beg /other }
  use_backend other if { hdr_end(host) -i .other.example } { path_beg /deep }
  default_backend web`
  writeFileSync(file, `global
  nbthread 1
  maxconn 8000
  ssl-default-bind-options ssl-min-ver TLSv1.2
${all ? '  log stdout format raw local0\n' : ''}defaults
  mode http
${all ? '  log global\n  option httplog\n' : ''}  option http-keep-alive
  http-reuse always
  retries 2
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
  timeout http-request 15s
  timeout http-keep-alive 60s
frontend web
  bind 127.0.0.1:${ports.http}
  option forwardfor
${rules}
frontend secure
  bind 127.0.0.1:${ports.tls} ssl crt ${pem}
  option forwardfor
${rules}
frontend socket
  bind 127.0.0.1:${ports.socket}
${all ? `${connections}  unique-id-format %[uuid]
  unique-id-header X-Request-Id
` : ''}  default_backend echo
frontend plain
  mode tcp
${all ? '  option tcplog\n' : ''}  bind 127.0.0.1:${ports.tcp}
${connections}  default_backend plain
${all ? 'backend rates\n  stick-table type ip size 100k expire 30s store http_req_rate(1s)\n' : ''}backend web
  balance roundrobin
  option httpchk GET /
  server a 127.0.0.1:${backendPort} check inter 2s pool-max-conn 128
  server b 127.0.0.2:${backendPort} check inter 2s pool-max-conn 128
backend other
  server a 127.0.0.1:${backendPort} check inter 2s
backend echo
  server a 127.0.0.1:${echoPort}
backend plain
  mode tcp
  balance roundrobin
  server a 127.0.0.1:${backendPort} check inter 2s
  server b 127.0.0.2:${backendPort} check inter 2s
`)
  return { name: 'haproxy', argv: ['sh', '-c', `exec haproxy -db -f ${file} > ${join(folder, 'haproxy.log')}`] }
}

function nginx(folder: string, features: Features): System {
  const all = features === 'all'
  const file = join(folder, 'nginx.conf')
  const certificates = join(folder, 'certificates')
  const limits = all ? `    limit_req zone=rates burst=1000000 nodelay;
    limit_conn connections 60000;
    if ($denied) { return 403; }
    add_header X-Served-By bench;
` : ''
  const rules = `${limits}    location / { proxy_pass http://web; }
    location /other { proxy_pass http://other; }`
  writeFileSync(file, `daemon off;
master_process off;
pid ${join(folder, 'nginx.pid')};
error_log ${join(folder, 'nginx.log')} error;
include /etc/nginx/modules-enabled/*.conf;
events { worker_connections 8000; }
http {
${all
    ? `  access_log ${join(folder, 'nginx-access.log')} combined;
  limit_req_zone $binary_remote_addr zone=rates:10m rate=1000000r/s;
  limit_conn_zone $binary_remote_addr zone=connections:10m;
  geo $denied { default 0; ${deniedPrefixes().map((prefix) => `${prefix} 1;`).join(' ')} }
  proxy_set_header traceparent 00-$request_id-0000000000000001-01;
`
    : '  access_log off;\n'}  client_body_temp_path ${join(folder, 'n1')};
  proxy_temp_path ${join(folder, 'n2')};
  fastcgi_temp_path ${join(folder, 'n3')};
  uwsgi_temp_path ${join(folder, 'n4')};
  scgi_temp_path ${join(folder, 'n5')};
  keepalive_requests 100000000;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Request-Id $request_id;
  upstream web { server 127.0.0.1:${backendPort}; server 127.0.0.2:${backendPort}; keepalive 128; keepalive_requests 100000000; }
  upstream other { server 127.0.0.1:${backendPort}; keepalive 128; }
  upstream echo { server 127.0.0.1:${echoPort}; }
  server {
    listen 127.0.0.1:${ports.http};
${rules}
  }
  server {
    listen 127.0.0.1:${ports.tls} ssl;
    ssl_certificate ${join(certificates, 'site.crt')};
    ssl_certificate_key ${join(certificates, 'site.key')};
${rules}
  }
  server {
    listen 127.0.0.1:${ports.socket};
    location / {
      proxy_pass http://echo;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_read_timeout 1h;
    }
  }
}
`)
  return { name: 'nginx', argv: ['nginx', '-c', file] }
}

function haechi(folder: string, features: Features): System {
  const all = features === 'all'
  const connections = all
    ? `
    accessLog: {format: json}
    deny: [denied]
    maxConnectionsPerSource: 100000
    rateLimit: {requests: 1000000, per: 1s}`
    : ''
  const requests = all
    ? `
    requestId: {}
    trace: {sample: 100}
    headers: {setResponse: [{name: X-Served-By, value: bench}]}`
    : ''
  const file = join(folder, 'haechi.yaml')
  const a = `{name: a, address: 127.0.0.1, port: ${backendPort}}`
  const b = `{name: b, address: 127.0.0.2, port: ${backendPort}}`
  const routes = `    routes:
      - {name: by-host, hosts: [other.example], pool: other}
      - {name: by-path, paths: [/other], pool: other}
      - {name: by-both, hosts: ['*.other.example'], paths: [/deep], pool: other}
    pool: web${connections}${requests}`
  writeFileSync(file, `haechi: 1
${all ? `accessLists: [{name: denied, prefixes: [${deniedPrefixes().join(', ')}]}]\n` : ''}pools:
  - name: web
    members: [${a}, ${b}]
    healthCheck: {type: http, path: /, interval: 2s}
  - name: other
    members: [${a}]
    healthCheck: {type: http, path: /, interval: 2s}
  - name: plain
    members: [${a}, ${b}]
    healthCheck: {type: tcp, interval: 2s}
  - name: echo
    members: [{name: a, address: 127.0.0.1, port: ${echoPort}}]
    healthCheck: {type: none}
listeners:
  - name: web
    address: 127.0.0.1
    port: ${ports.http}
${routes}
  - name: secure
    address: 127.0.0.1
    port: ${ports.tls}
    protocol: https
    tls: {certificates: [site]}
${routes}
  - name: socket
    address: 127.0.0.1
    port: ${ports.socket}
    pool: echo${connections}${requests}
  - name: plain
    address: 127.0.0.1
    port: ${ports.tcp}
    protocol: tcp
    pool: plain${connections}
`)
  const argv = [
    process.execPath, '--disable-warning=ExperimentalWarning', join(root, 'node/cli/main.ts'), 'run', '--config', file, '--workers', '1', '--access-log', join(folder, 'haechi-access.log'),
    '--certificates', join(folder, 'certificates'),
  ]
  return { name: 'haechi', argv }
}
