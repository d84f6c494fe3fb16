/** The serving side of joining: what somebody without a token can do to it. */
import { createServer, request } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import type { ConsensusHooks } from '../consensus.ts'
import { JoinServer } from './join.ts'

const body = JSON.stringify({
  secret: 'wrong', csr: 'none', peer: { id: 'n', role: 'witness', address: '127.0.0.1:7000', apiAddress: '' },
})

async function serve(t: ExecutionContext, join: ConsensusHooks['join']): Promise<number> {
  const joins = new JoinServer(join, () => undefined)
  const server = createServer((incoming, response) => joins.handle(incoming, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

function ask(port: number): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: '127.0.0.1', port, path: '/join', method: 'POST', agent: false }, (incoming) => {
      incoming.resume()
      resolve(incoming.statusCode)
    })
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

test('bug: a few requests that never end kept everybody else from joining', async (t) => {
  const port = await serve(t, async () => ({ ok: false, error: 'the token is not valid' }))
  for (let slow = 0; slow < 8; slow += 1) {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined)
    t.teardown(() => socket.destroy())
    await new Promise<void>((resolve) => socket.write(`POST /join HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n{`, () => resolve()))
  }
  t.is(await ask(port), 403)
})

test('joins that are being decided are bounded, and each makes room again', async (t) => {
  const decide: (() => void)[] = []
  const port = await serve(t, () => new Promise((resolve) => decide.push(() => resolve({ ok: false, error: 'no' }))))
  const asked = Array.from({ length: 5 }, () => ask(port))
  t.is(await Promise.race(asked), 503)
  for (const run of decide) run()
  t.deepEqual((await Promise.all(asked)).toSorted(), [403, 403, 403, 403, 503])
  const last = ask(port)
  while (decide.length < 5) await new Promise((resolve) => setImmediate(resolve))
  decide[4]!()
  t.is(await last, 403)
})
