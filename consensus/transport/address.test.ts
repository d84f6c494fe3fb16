import test from 'ava'
import { formatHostPort, parseHostPort } from './address.ts'

test('host:port in its forms', (t) => {
  t.deepEqual(parseHostPort('127.0.0.1:7400'), { host: '127.0.0.1', port: 7400 })
  t.deepEqual(parseHostPort('node-a.example.org:1'), { host: 'node-a.example.org', port: 1 })
  t.deepEqual(parseHostPort('[fd00::1]:7400'), { host: 'fd00::1', port: 7400 })
  for (const text of ['127.0.0.1:7400', '[fd00::1]:7400', 'a:0']) t.is(formatHostPort(parseHostPort(text)!), text)
})

test('everything else is refused', (t) => {
  for (const text of ['', ':1', 'a', 'a:', 'a:65536', 'a:-1', 'a:1x', 'fd00::1:7400', '[fd00::1]', 'a b:1', 'a/b:1', '-a:1', 'a:1:2', 'a:1\n']) {
    t.is(parseHostPort(text), undefined, JSON.stringify(text))
  }
})
