/** Client certificates: a good one is let in and named to the member; none, a foreign and a revoked one are not. */
import test from 'ava'
import { TestAuthority } from '../../node/proxy/tls/test-certificates.ts'
import { startExample } from './example.ts'
import { certificateDirectory, secureRequest } from './tls.ts'

test('tls-client-certificates', async (t) => {
  const authority = await TestAuthority.create('sites')
  const staff = await TestAuthority.create('staff')
  const front = await authority.issue('front', ['front.example.com'])
  const ann = await staff.issue('ann', ['ann.example.com'], { subject: 'Ann' })
  const bob = await staff.issue('bob', ['bob.example.com'], { subject: 'Bob' })
  const eve = await authority.issue('eve', ['eve.example.com'])
  staff.revoke(bob.serial)
  const { certificates, revocations } = await staff.material()
  const directory = certificateDirectory(t, { 'front.pem': front.chain + front.key, 'staff.ca.pem': certificates + revocations })
  await startExample(t, 'tls-client-certificates', { arguments: ['--certificates', directory] })
  const site = { host: '127.13.1.1', port: 8443, ca: authority.pem, servername: 'front.example.com' }
  const answer = await secureRequest({ ...site, cert: ann.chain, key: ann.key, headers: { 'X-Client-Cert-Subject': 'CN=root' } })
  t.is(answer.status, 200)
  const { headers } = JSON.parse(answer.text) as { headers: Record<string, string> }
  t.is(headers['x-client-cert-verified'], 'SUCCESS')
  t.is(headers['x-client-cert-subject'], 'CN=Ann')
  t.regex(headers['x-client-cert-fingerprint'] ?? '', /^[0-9a-f]{64}$/)
  for (const { chain, key } of [bob, eve]) await t.throwsAsync(secureRequest({ ...site, cert: chain, key }))
  await t.throwsAsync(secureRequest(site))
  await t.throwsAsync(secureRequest({ ...site, servername: 'other.example.com', cert: ann.chain, key: ann.key }))
})
