/** The queue of a pool in any order of events: nobody is forgotten, nobody is served twice, the limit holds, and every count returns to zero. */
import test from 'ava'
import fc from 'fast-check'
import { FakeProxy, type FakeConnection } from './fake-transport.ts'

const events = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('ask' as const), client: fc.nat(7) }),
    fc.record({ kind: fc.constant('answer' as const), which: fc.nat() }),
    fc.record({ kind: fc.constant('connect' as const), which: fc.nat() }),
    fc.record({ kind: fc.constant('refuse' as const), which: fc.nat() }),
    fc.record({ kind: fc.constant('reset' as const), client: fc.nat(7) }),
    fc.record({ kind: fc.constant('time' as const), ms: fc.constantFrom(100, 400) }),
    fc.record({ kind: fc.constant('turn' as const) }),
  ),
  { minLength: 10, maxLength: 80, size: 'max' },
)

interface Client {
  connection: FakeConnection
  asked: number
  gone: boolean
}

test('in any order of events', async (t) => {
  await fc.assert(
    fc.asyncProperty(events, fc.integer({ min: 1, max: 3 }), fc.constantFrom('pool', 'members'), fc.integer({ min: 1, max: 5 }), async (list, limit, what, maxLength) => {
      const members = what === 'pool' ? 2 : limit
      const proxy = new FakeProxy({
        haechi: 1,
        pools: [{
          name: 'web', healthCheck: { type: 'none' }, retries: 0, queue: { maxLength, timeout: '1s' }, ...(what === 'pool' ? { maxConnections: limit } : {}),
          members: Array.from({ length: members }, (_, i) => ({ name: `m${i}`, address: `192.0.2.${10 + i}`, port: 80, ...(what === 'pool' ? {} : { maxConnections: 1 }) })),
        }],
        listeners: [{ name: 'web', address: '127.0.0.1', port: 80, pool: 'web' }],
      })
      const fresh = (): Client => ({ connection: proxy.client(), asked: 0, gone: false })
      const clients = Array.from({ length: 8 }, fresh)
      const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
      const answered = ({ connection }: Client): number => (connection.taken.match(/HTTP\/1\.1 \d/g) ?? []).length
      const connecting = new Set<FakeConnection>()
      const open = new Set<FakeConnection>()
      let known = 0
      /** Connections to members that were made since the last look; nothing of them is established by itself. */
      const look = (): void => {
        for (; known < proxy.connections.length; known++) connecting.add(proxy.connections[known]!)
        for (const set of [connecting, open]) for (const one of set) if (one.isClosed) set.delete(one)
        if (proxy.active() > limit) throw new Error(`${proxy.active()} at once`)
      }
      const pick = (set: Set<FakeConnection>, which: number): FakeConnection | undefined => [...set][which % Math.max(1, set.size)]
      const connect = (one: FakeConnection | undefined): void => {
        if (one === undefined) return
        connecting.delete(one)
        open.add(one)
        one.connects()
      }
      /** Whether the member has a request that it has not answered. */
      const waits = (one: FakeConnection): boolean => (one.taken.match(/GET /g) ?? []).length > (answersOf.get(one) ?? 0)
      const answersOf = new Map<FakeConnection, number>()
      const answer = (one: FakeConnection | undefined): void => {
        if (one === undefined || !waits(one)) return
        answersOf.set(one, (answersOf.get(one) ?? 0) + 1)
        one.receives('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      }
      for (const event of list) {
        look()
        switch (event.kind) {
          case 'ask': {
            const client = clients[event.client]!
            if (client.gone || client.connection.isClosed || client.asked > answered(client)) break
            client.asked++
            client.connection.receives('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
            break
          }
          case 'answer':
            answer(pick(open, event.which))
            break
          case 'connect':
            connect(pick(connecting, event.which))
            break
          case 'refuse': {
            const one = pick(connecting, event.which)
            if (one === undefined) break
            connecting.delete(one)
            one.breaks('ECONNREFUSED')
            break
          }
          case 'reset': {
            const client = clients[event.client]!
            if (!client.connection.isClosed) client.connection.breaks('ECONNRESET')
            client.gone = true
            break
          }
          case 'time':
            proxy.passes(event.ms)
            break
          default:
            await turn()
        }
      }
      // The rest of the world behaves: everybody who still waits gets an answer.
      for (let round = 0; round < 60 && clients.some((client) => !client.gone && client.asked > answered(client)); round++) {
        look()
        for (const one of connecting) connect(one)
        for (const one of open) answer(one)
        await turn()
        await turn()
      }
      look()
      for (const [i, client] of clients.entries()) if (!client.gone && client.asked > answered(client)) throw new Error(`client ${i} has ${answered(client)} answers for ${client.asked}`)
      for (const { connection } of clients) if (!connection.isClosed) connection.breaks('ECONNRESET')
      await turn()
      if (proxy.active() !== 0) throw new Error(`${proxy.active()} are still counted`)
      if (proxy.shared.waiting(0) !== 0) throw new Error(`${proxy.shared.waiting(0)} still wait`)
    }),
    { numRuns: 150 },
  )
  t.pass()
})
