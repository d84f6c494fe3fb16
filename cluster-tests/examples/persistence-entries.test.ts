/** Each kind of entry: by the application's cookie, by the address (http and tcp alike), by a header field. */
import { request } from 'node:http'
import test from 'ava'
import { allUp, startExample } from './example.ts'

test('persistence-entries: clients stay by application cookie, address and header', async (t) => {
  let sessions = 0
  const example = await startExample(t, 'persistence-entries', {
    answer: (seen, response) => {
      if (seen.member.startsWith('java') && seen.headers.cookie === undefined) response.setHeader('Set-Cookie', `JSESSIONID=secret${++sessions}; Path=/; HttpOnly`)
      return false
    },
  })
  await allUp(example)
  const byCookie = new Map<string, string>()
  for (let i = 0; i < 4; i++) {
    const answer = await example.request({ listener: 'application' })
    byCookie.set(String(answer.headers['set-cookie']).split(';')[0]!, answer.seen!.member)
  }
  t.is(new Set(byCookie.values()).size, 2)
  const byAddress = new Map<string, string>()
  for (let i = 1; i <= 6; i++) byAddress.set(`127.16.4.${i}`, (await example.request({ listener: 'by-address', from: `127.16.4.${i}` })).seen!.member)
  t.is(new Set(byAddress.values()).size, 3)
  const byTenant = new Map<string, string>()
  for (const tenant of ['blue', 'green', 'red', 'grey']) byTenant.set(tenant, (await example.request({ listener: 'by-tenant', headers: { 'x-tenant': tenant } })).seen!.member)
  t.is(new Set(byTenant.values()).size, 2)
  for (let round = 0; round < 3; round++) {
    for (const [cookie, member] of byCookie) t.is((await example.request({ listener: 'application', headers: { cookie } })).seen?.member, member)
    for (const [from, member] of byAddress) t.is((await example.request({ listener: 'by-address', from })).seen?.member, member)
    for (const [tenant, member] of byTenant) t.is((await example.request({ listener: 'by-tenant', headers: { 'X-Tenant': tenant } })).seen?.member, member)
  }
  // The pool keeps an address on its member whatever listener it comes through.
  const { address, port } = example.document.listeners.find(({ name }) => name === 'tcp')!
  const throughTcp = (from: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const outgoing = request({ host: address, port, localAddress: from, agent: false }, (answer) => {
        let text = ''
        answer.on('data', (data) => (text += String(data)))
        answer.on('end', () => resolve((JSON.parse(text) as { member: string }).member))
      })
      outgoing.once('error', reject)
      outgoing.end()
    })
  for (const [from, member] of byAddress) t.is(await throughTcp(from), member)
})
