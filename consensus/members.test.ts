/** What a node makes of its own name in the log. The whole of it, with certificates and connections, is in replaced.test.ts. */
import test from 'ava'
import type { Raft } from './core/raft.ts'
import type { Membership, Peer } from './core/types.ts'
import { Members } from './members.ts'

const peer = (id: string, fingerprint: string): Peer =>
  ({ id, role: 'node', address: `${id}.example:7400`, apiAddress: `${id}.example:8443`, fingerprint })
const membership = (...voters: Peer[]): Membership => ({ voters, learners: [] })
const a = peer('a', 'a'.repeat(64))
const predecessor = peer('b', '1'.repeat(64))
const own = peer('b', '2'.repeat(64))
const successor = peer('b', '3'.repeat(64))

function at(first: Membership, membershipIndex: number) {
  const raft = { id: 'b', leader: 'a', membership: first, membershipIndex }
  const members = new Members(raft as unknown as Raft, own.fingerprint)
  return {
    members,
    follow(next: Membership) {
      raft.membership = next
      raft.membershipIndex += 1
      return members.follow(0)?.own
    },
  }
}

test('a machine that joins under a name used before, and reads of its predecessor first, takes part', (t) => {
  // It was told who the members are when it joined; the log is older. So is a snapshot from before the removal.
  const { members, follow } = at({ voters: [a], learners: [own] }, 0)
  t.is(follow(membership(a, predecessor)), undefined)
  t.false(members.replaced)
  t.is(follow(membership(a)), undefined, 'that was the other one')
  t.is(follow({ voters: [a], learners: [own] }), undefined)
  t.is(follow(membership(a, own)), undefined)
  t.false(members.replaced)
})

test('a machine whose name is given to another one after its own time is replaced', (t) => {
  const { members, follow } = at(membership(a, own), 5)
  t.is(follow(membership(a)), 'removed')
  t.is(follow(membership(a, successor)), 'replaced')
  t.true(members.replaced)
})
