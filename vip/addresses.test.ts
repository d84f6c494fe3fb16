import test from 'ava'
import { addressLifetimeS, addressRenewMs, interfaceFor } from './addresses.ts'

test('a loopback address belongs to lo', (t) => {
  t.deepEqual(interfaceFor('127.0.0.77'), { interface: 'lo', prefixLength: 8 })
})

test('no interface for an address of nobody\'s subnet, or for none', (t) => {
  t.is(interfaceFor('240.0.0.1'), undefined)
  t.is(interfaceFor('2001:db8::1'), undefined)
  t.is(interfaceFor('nonsense'), undefined)
})

test('the lifetime of an address outlasts the lease, and the wait for its renewal', (t) => {
  t.is(addressLifetimeS(200), 2)
  for (const leaseMs of [1, 50, 200, 999, 1000, 5000]) t.true(addressLifetimeS(leaseMs) * 1000 - 250 > leaseMs + addressRenewMs)
})
