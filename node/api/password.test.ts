import test from 'ava'
import { generatePassword, hashPassword, passwordProblem, PasswordsBusy, verifyPassword } from './password.ts'

test.serial('a password verifies against its own hash only', async (t) => {
  const stored = await hashPassword('correct horse battery')
  t.regex(stored, /^argon2id\$m=19456,t=2,p=1\$[\w-]{22}\$[\w-]{43}$/)
  t.true(await verifyPassword('correct horse battery', stored))
  t.false(await verifyPassword('correct horse batterx', stored))
  t.not(await hashPassword('correct horse battery'), stored, 'a new salt each time')
})

test.serial('composed and decomposed Hangul are the same password', async (t) => {
  t.true(await verifyPassword('비밀번호는길게'.normalize('NFD'), await hashPassword('비밀번호는길게'.normalize('NFC'))))
})

test.serial('an unknown user and a broken record are refused, not crashes', async (t) => {
  t.false(await verifyPassword('', undefined))
  t.false(await verifyPassword('anything', 'argon2id$m=1,t=1,p=1$$'))
  t.false(await verifyPassword('anything', 'plain'))
})

test.serial('a flood is refused instead of queued without end', async (t) => {
  const results = await Promise.allSettled(Array.from({ length: 60 }, () => verifyPassword('x', undefined)))
  const refused = results.filter((result) => result.status === 'rejected')
  t.is(refused.length, 60 - 2 - 32)
  for (const result of refused) t.true(result.reason instanceof PasswordsBusy)
  t.false(await verifyPassword('x', undefined), 'and it works again afterwards')
})

test('what a new password must be', (t) => {
  t.regex(passwordProblem('short', 'kim')!, /at least 10/)
  t.regex(passwordProblem('x'.repeat(300), 'kim')!, /at most 256/)
  t.regex(passwordProblem('administrator', 'Administrator')!, /user name/)
  t.regex(passwordProblem('aaaaaaaaaaaa', 'kim')!, /different/)
  t.is(passwordProblem('longer than ten', 'kim'), undefined)
})

test('generated passwords are readable, long and pass the rules', (t) => {
  const made = new Set(Array.from({ length: 200 }, generatePassword))
  t.is(made.size, 200)
  for (const password of made) {
    t.regex(password, /^[a-km-np-z2-9]{5}(-[a-km-np-z2-9]{5}){3}$/)
    t.is(passwordProblem(password, 'admin'), undefined)
  }
})
