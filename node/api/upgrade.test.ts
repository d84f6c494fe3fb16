import { call, problemOf, test } from './test-api.ts'
import type { UpgradeView } from './types.ts'

const v = (commandLevel: number, product: string) => ({ protocol: { min: 1, max: commandLevel }, commandLevel, product })
const all = (level: number, product: string) => ({ n1: v(level, product), n2: v(level, product), w: v(level, product) })

test('an upgrade is finished once every member understands the next level, and is in the audit log with who said what', async (t) => {
  const { api, node } = t.context
  const administrator = await t.context.token('administrator')
  const view = async () => (await call(api, 'GET', '/upgrade', { token: administrator })).body as UpgradeView
  node.versions = all(1, '0.1.0')
  t.like(await view(), { level: 1, target: 1, state: 'current', blockers: [] })
  t.like((await call(api, 'POST', '/upgrade/finish', { token: administrator })).body, { level: 1, state: 'current' }, 'nothing to do')

  node.versions = { ...all(2, '0.2.0'), n2: v(1, '0.1.0') }
  t.like(await view(), { level: 1, target: 2, state: 'blocked', blockers: ['n2 understands levels up to 1 (version 0.1.0)'] })
  t.deepEqual((await view()).nodes[1], {
    id: 'n2', role: 'node', version: '0.1.0', commandLevel: 1, protocols: { min: 1, max: 1 }, protocol: 1, connected: true,
  })
  const refused = await call(api, 'POST', '/upgrade/finish', { token: administrator })
  problemOf(t, refused, 409, 'upgrade-refused')
  t.regex(refused.text, /n2 understands levels up to 1 \(version 0\.1\.0\)/)

  node.versions = { n1: v(2, '0.2.0'), n2: v(2, '0.2.0') }
  t.deepEqual((await view()).blockers, ['w is not connected to n1, so it is not certain which version it runs'])
  problemOf(t, await call(api, 'POST', '/upgrade/finish', { token: administrator }), 409, 'upgrade-refused')
  t.is(node.state().level, 1)
  t.false(node.commands.some(({ kind }) => kind === 'raise-level'), 'refused before it is proposed')

  node.versions = all(2, '0.2.0')
  t.like(await view(), { target: 2, state: 'ready' })
  problemOf(t, await call(api, 'POST', '/upgrade/finish', { token: await t.context.token('operator') }), 403, 'forbidden')
  const done = await call(api, 'POST', '/upgrade/finish', { token: administrator })
  t.is(done.status, 200, done.text)
  t.like(done.body, { level: 2, target: 2, state: 'current' })
  const [audit] = (await call(api, 'GET', '/audit?limit=1', { token: administrator })).body as { action: string; detail: string }[]
  t.like(audit, { action: 'cluster.raise-level', actor: { name: 'anna' } })
  t.is(audit!.detail, 'level 1 → 2\nn1: level 2 (version 0.2.0)\nn2: level 2 (version 0.2.0)\nw: level 2 (version 0.2.0)')
  t.like((await call(api, 'POST', '/upgrade/finish', { token: administrator })).body, { level: 2, state: 'current' })
})

test('members of more than two versions: the level becomes what all of them understand', async (t) => {
  const { api, node } = t.context
  const token = await t.context.token('administrator')
  node.versions = { ...all(3, '0.3.0'), w: v(2, '0.2.0') }
  t.like((await call(api, 'GET', '/upgrade', { token })).body, { level: 1, target: 2, state: 'ready' })
  t.like((await call(api, 'POST', '/upgrade/finish', { token })).body, { level: 2, target: 3, state: 'blocked' })
})
