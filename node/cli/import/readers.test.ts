import fc from 'fast-check'
import test from 'ava'
import { validateDocument } from '../../config/validate.ts'
import { readSections, sizeOf, timeMs } from './haproxy-lines.ts'
import { formatOf, importHaproxy, importNginx } from './import.ts'
import { nginxMs, readDirectives } from './nginx-lines.ts'

const words = (line: string): readonly string[] => readSections(`global\n${line}\n`)[0]!.lines[0]?.words ?? []

// As HAProxy 2.6 reads them.
test('haproxy: quotes, escapes and comments', (t) => {
  t.deepEqual(words(String.raw`acl a path_reg ^/v\d+\.html$ # a comment`), ['acl', 'a', 'path_reg', String.raw`^/v\d+\.html$`])
  t.deepEqual(words(String.raw`x "a\db \1 'x'" y\ z`), ['x', String.raw`a\db ` + String.raw`\1 'x'`, 'y z'])
  t.deepEqual(words(String.raw`x "q\"q\$HOME" 'q\d\\'`), ['x', 'q"q$HOME', String.raw`q\d\\`])
  t.deepEqual(words(String.raw`x a\#b "#c" '' a"b c"d`), ['x', 'a#b', '#c', '', 'ab cd'])
  t.deepEqual(words(String.raw`x PING\r\n \x41`), ['x', 'PING\r\n', 'A'])
})

test('haproxy: sections, times and sizes', (t) => {
  const sections = readSections('frontend a from b\n  bind :80\r\nbackend c\n')
  t.deepEqual(sections.map(({ kind, name, rest, lines }) => [kind, name, rest.join(' '), lines.length]), [['frontend', 'a', 'from b', 1], ['backend', 'c', '', 0]])
  t.deepEqual(sections[0]!.lines[0]!.words, ['bind', ':80'])
  t.deepEqual(['10', '10s', '1m', '500us', 'x', undefined].map(timeMs), [10, 10_000, 60_000, 0.5, undefined, undefined])
  t.deepEqual(['10', '1k', '2m', 'x'].map(sizeOf), [10, 1024, 2 * 1024 ** 2, undefined])
})

test('nginx: quotes, braces, variables and comments', (t) => {
  const [server] = readDirectives(String.raw`server { # x {
    location ~ "^/y[0-9]{4}/(;|})" { return 200 'it''s'; }
    set $a "${'$'}{b}c"; proxy_pass http://${'$'}{up}/x;
    location ~ \.php$ { }
    x a\;b "q\"q" 'w\'w';
  }`) as Exclude<ReturnType<typeof readDirectives>, string>
  const [location, set, pass, php, x] = server!.block!
  t.deepEqual(location!.args, ['~', '^/y[0-9]{4}/(;|})'])
  t.is(location!.line, 2)
  t.deepEqual(set!.args, ['$a', '${b}c'])
  t.deepEqual(pass!.args, ['http://${up}/x'])
  t.deepEqual(php!.args, ['~', String.raw`\.php$`])
  t.deepEqual(x!.args, [String.raw`a\;b`, 'q"q', "w'w"])
  t.regex(readDirectives('server { listen 80') as string, /^line 1: /)
  t.regex(readDirectives('} http {}') as string, /brace too many/)
  t.regex(readDirectives('a {'.repeat(100_000)) as string, /nested too deeply/)
  t.deepEqual((readDirectives('location / { content_by_lua_block { if a { b } } } x;') as { name: string }[]).map(({ name }) => name), ['location', 'x'])
  t.deepEqual(['30s', '1m30s', '10', '500ms', '', 'x'].map(nginxMs), [30_000, 90_000, 10_000, 500, undefined, undefined])
})

test('which format a file is in', (t) => {
  t.is(formatOf('defaults\n  mode http\nfrontend a\n  http-request deny if { path /server }\n'), 'haproxy')
  t.is(formatOf('# x\nupstream a { server 127.0.0.1:80; }\n'), 'nginx')
  t.is(formatOf('http\n{\n}'), 'nginx')
  t.is(formatOf('hello'), undefined)
})

const haproxyWords = fc.constantFrom(
  'frontend', 'backend', 'listen', 'defaults', 'global', 'a', 'bind', ':80', '127.0.0.1:81', 'ssl', 'crt', 'x.pem', 'acl', 'use_backend', 'if', 'unless', '!', '{', '}', 'or', 'path_beg', '/x', 'src', '10.0.0.1/8',
  'http-request', 'deny', 'redirect', 'scheme', 'https', 'code', '999', 'server', 's', '127.0.0.1:82', 'check', 'weight', '-1', 'maxconn', 'timeout', 'client', '0', 'cookie', 'insert', 'mode', 'http', 'tcp',
  'stick-table', 'type', 'ip', 'store', 'http_req_rate(10s)', 'sc_http_req_rate(0)', 'gt', '5', 'replace-path', '(.*', String.raw`\9`, 'set-header', 'X', '%[src]', 'hdr(host)', '-i', '-m', 'reg', 'tcp-request', 'connection',
  'reject', 'accept', 'option', 'httpchk', 'default_backend', 'ssl_fc', 'allow', 'return', 'status', '"', "'", '\\', 'hdr_end(host)', '.x', 'http-check', 'send', 'expect', 'rstatus', '[', 'balance', 'uri', 'backup', '\n', '\n', '\n',
)
const nginxWords = fc.constantFrom(
  'http', 'stream', 'server', 'upstream', 'location', 'listen', '80', '[::]:80', 'ssl', 'udp', 'server_name', 'a.test', '*.b.test', '~^(', '=', '~', '~*', '^~', '/', '/x', '\\.php$', 'proxy_pass', 'http://a', 'http://127.0.0.1:81/', 'a',
  'return', '301', '200', 'https://$host$request_uri', 'rewrite', '^/(.*)$', '/$1', 'break', 'permanent', 'if', '($host', 'a.test)', 'map', '$http_x', '$y', 'default', 'split_clients', '10%', '*', 'limit_req_zone', 'zone=z:1m',
  'rate=1r/s', 'limit_req', 'zone=z', 'allow', 'deny', 'all', '10.0.0.1/8', 'add_header', 'X', 'proxy_set_header', 'Host', '$host', 'try_files', '@n', 'ssl_certificate', 'x.pem', 'ssl_preread', 'on', 'hash', 'keepalive', '-1',
  'weight=0', 'max_fails=0', '{', '}', '{', '}', ';', ';', ';', '"', "'", '#', '\n',
)

for (const [name, vocabulary, convert] of [['haproxy', haproxyWords, importHaproxy], ['nginx', nginxWords, importNginx]] as const) {
  test(`${name}: whatever the text is, nothing is thrown, and every note has its line`, (t) => {
    const check = (text: string): void => {
      const draft = convert(text)
      if (typeof draft === 'string') return
      const lines = text.split('\n').length
      t.true(draft.notes.every(({ line, why }) => line >= 1 && line <= lines && why !== ''))
      validateDocument(draft.document())
    }
    fc.assert(fc.property(fc.array(vocabulary, { maxLength: 80 }), (parts) => check(parts.join(' '))), { numRuns: 1500 })
    fc.assert(fc.property(fc.string({ maxLength: 300, unit: 'binary' }), check), { numRuns: 500 })
  })
}
