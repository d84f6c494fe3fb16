/** TLS to members: verified, by name, with a certificate of the proxy's own; a member with another certificate gets nothing. */
import test from 'ava'
import { TestAuthority } from '../../node/proxy/tls/test-certificates.ts'
import { startExample } from './example.ts'
import { certificateDirectory, secureMember } from './tls.ts'

for (const good of [true, false]) {
  test.serial(`tls-to-members: a member with ${good ? 'the right' : 'another'} name`, async (t) => {
    const authority = await TestAuthority.create('backend')
    const web = await authority.issue('web', [good ? 'web.internal' : 'other.internal'])
    const proxy = await authority.issue('proxy', ['proxy.internal'])
    const directory = certificateDirectory(t, { 'backend.ca.pem': authority.pem, 'proxy.pem': proxy.chain + proxy.key })
    const seen = await secureMember(t, '127.13.2.11', 9443, 'from within', { cert: web.chain, key: web.key, ca: authority.pem, requestCert: true, rejectUnauthorized: true })
    const example = await startExample(t, 'tls-to-members', { members: false, arguments: ['--certificates', directory] })
    const answer = await example.request()
    if (good) {
      t.is(answer.status, 200)
      t.is(answer.text, 'from within')
      t.deepEqual(seen[0], { serverName: 'web.internal', client: 'DNS:proxy.internal' })
    } else {
      t.is(answer.status, 502)
      t.is(answer.headers['x-haechi-error'], 'member-tls-failed')
    }
  })
}
