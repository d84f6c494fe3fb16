/**
 * The console in a real browser against the fixture server: every page in both languages and both colour schemes, without
 * errors and without serious accessibility faults; the draft, its conflict and the roll back. Screenshots: /screenshots.
 */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import AxeBuilder from '@axe-core/playwright'
import anyTest, { type TestFn } from 'ava'
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'
import { build } from 'vite'
import { Fixture, fixturePassword, type FixtureOptions } from './fixture/server.ts'

const executablePath = '/usr/bin/chromium'
const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']
const screenshots = join(import.meta.dirname, '..', 'screenshots')
/** Compressed size of everything that the overview needs before it can be drawn, fonts apart; bytes. */
const firstLoadLimit = 350 * 1024

const hasBrowser = existsSync(executablePath)
const test = anyTest as TestFn
const withBrowser = hasBrowser ? test.serial : test.serial.skip
if (!hasBrowser) test('a browser', (t) => {
  t.log(`skipped: there is no ${executablePath}`)
  t.pass()
})

let browser: Browser
let consoleDirectory: string

test.before(async () => {
  if (!hasBrowser) return
  consoleDirectory = await mkdtemp(join(tmpdir(), 'haechi-console-'))
  await mkdir(screenshots, { recursive: true })
  await build({ configFile: join(import.meta.dirname, 'vite.config.ts'), logLevel: 'error', build: { outDir: consoleDirectory } })
  browser = await chromium.launch({ executablePath, args })
})

test.after.always(async () => {
  await browser?.close()
  if (consoleDirectory !== undefined) await rm(consoleDirectory, { recursive: true, force: true })
})

interface Session {
  readonly fixture: Fixture
  readonly context: BrowserContext
  readonly page: Page
  /** Errors in the browser's console and failed requests. */
  readonly errors: string[]
  readonly origin: string
}
interface Look {
  readonly language: 'en' | 'ko'
  readonly scheme: 'light' | 'dark'
  readonly width?: number
  readonly height?: number
}

async function opened(options: FixtureOptions & Partial<Look> & { readonly user?: string | null }, use: (session: Session) => Promise<void>): Promise<void> {
  const fixture = new Fixture({ ...options, consoleDirectory })
  const origin = await fixture.listen()
  const context = await browser.newContext({
    baseURL: origin,
    locale: options.language === 'ko' ? 'ko-KR' : 'en-GB',
    colorScheme: options.scheme ?? 'light',
    timezoneId: 'Asia/Seoul',
    viewport: { width: options.width ?? 1440, height: options.height ?? 900 },
    reducedMotion: 'reduce',
  })
  try {
    const page = await context.newPage()
    page.setDefaultTimeout(15_000)
    const errors: string[] = []
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()))
    page.on('pageerror', (error) => errors.push(String(error)))
    const session = { fixture, context, page, errors, origin }
    if (options.user !== null) await signIn(page, options.user ?? 'admin')
    await use(session)
  } finally {
    await context.close()
    await fixture.close()
  }
}

async function signIn(page: Page, name: string, path = '/'): Promise<void> {
  await page.goto(path)
  await page.locator('input[autocomplete=username]').fill(name)
  await page.locator('input[autocomplete=current-password]').fill(fixturePassword)
  await page.getByTestId('sign-in').click()
  await page.getByTestId('connection').and(page.locator('[data-phase=live]')).waitFor()
}

/** Waits until nothing is loading any more, so that a page is judged by what it shows in the end. */
async function settled(page: Page): Promise<void> {
  await page.locator('h1').first().waitFor()
  await page.waitForFunction(() => document.querySelectorAll('[aria-busy=true], [data-loading=true]').length === 0)
  await page.evaluate(() => document.fonts.ready.then(() => undefined))
}

/** Opens all that is folded away. */
async function unfold(page: Page): Promise<void> {
  const folded = page.locator('.h-fold[aria-expanded=false]')
  while ((await folded.count()) > 0) await folded.first().click()
}

async function seriousFaults(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']).analyze()
  return violations
    .filter((fault) => fault.impact === 'serious' || fault.impact === 'critical')
    .map((fault) => `${fault.id}: ${fault.nodes.slice(0, 3).map((node) => node.target.join(' ')).join(' | ')}`)
}

/** The whole page as one would see it in a window that is tall enough. */
async function wholePage(page: Page, path: string): Promise<void> {
  const before = page.viewportSize() ?? { width: 1440, height: 900 }
  const height = await page.evaluate(() => document.documentElement.scrollHeight)
  await page.setViewportSize({ width: before.width, height: Math.max(before.height, height) })
  await page.screenshot({ path })
  await page.setViewportSize(before)
}

/** Texts that stick out of the page to the right. */
async function overflow(page: Page): Promise<number> {
  return await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
}

const pages = [
  ['overview', '/'], ['vips', '/vips'], ['vip', '/vips/public'], ['listeners', '/listeners'], ['listener', '/listeners/web'], ['pools', '/pools'], ['pool', '/pools/shop'],
  ['certificates', '/certificates'], ['configuration', '/configuration'], ['revisions', '/revisions'], ['revision', '/revisions/5'], ['nodes', '/nodes'], ['users', '/users'], ['audit', '/audit'], ['sessions', '/sessions'],
] as const

for (const language of ['en', 'ko'] as const) {
  for (const scheme of ['light', 'dark'] as const) {
    // The structure and the colours are the same in both languages: once for each scheme is enough.
    const faults = async (page: Page) => (language === 'en' ? await seriousFaults(page) : [])
    const shot = (name: string) => join(screenshots, `${name}-${language}-${scheme}.png`)
    withBrowser(`every page renders without errors: ${language}, ${scheme}`, async (t) => {
      await opened({ language, scheme, user: null }, async ({ page, errors }) => {
        await page.goto('/')
        await settled(page)
        t.is(await page.locator('html').getAttribute('lang'), language)
        t.is(await page.locator('html').getAttribute('data-mantine-color-scheme'), scheme)
        t.deepEqual(await faults(page), [], 'sign-in')
        await page.screenshot({ path: shot('sign-in') })
        await signIn(page, 'admin')
        for (const [name, path] of pages) {
          await page.goto(path)
          await settled(page)
          // Words that are missing show up as their keys.
          t.notRegex(await page.locator('body').innerText(), /\b(nav|word|column|action|overview|pool|vip|listener|node|state)\.[a-z]\w+/, name)
          t.deepEqual(await faults(page), [], name)
          t.true((await overflow(page)) <= 0, `${name} is wider than the window`)
          await wholePage(page, shot(name))
          if ((await page.locator('.h-fold').count()) === 0) continue
          await unfold(page)
          t.deepEqual(await faults(page), [], `${name}, unfolded`)
          t.true((await overflow(page)) <= 0, `${name}, unfolded, is wider than the window`)
          await wholePage(page, shot(`${name}-unfolded`))
        }
        t.deepEqual(errors, [])
      })
    })

    withBrowser(`dialogs and states: ${language}, ${scheme}`, async (t) => {
      await opened({ language, scheme, scene: 'troubled' }, async ({ page, errors }) => {
        await settled(page)
        await page.getByTestId('attention').waitFor()
        t.deepEqual(await faults(page), [], 'troubled')
        await wholePage(page, shot('overview-troubled'))
        t.deepEqual(errors, [])
      })
      await opened({ language, scheme, scene: 'empty' }, async ({ page, errors }) => {
        await settled(page)
        await page.screenshot({ path: shot('overview-empty') })
        await page.goto('/pools')
        await settled(page)
        await page.screenshot({ path: shot('pools-empty') })
        t.deepEqual(await faults(page), [], 'empty')
        t.deepEqual(errors, [])
      })
      await opened({ language, scheme }, async ({ page, errors, fixture }) => {
        await settled(page)
        await page.getByTestId('hand-over').click()
        await page.getByTestId('hand-over-confirm').waitFor()
        t.deepEqual(await faults(page), [], 'hand-over')
        await page.screenshot({ path: shot('hand-over') })
        await page.getByTestId('hand-over-confirm').click()
        await page.getByTestId('hand-over-progress').and(page.locator('[data-done=true]')).waitFor()
        await page.screenshot({ path: shot('hand-over-done') })
        await page.goto('/nodes')
        await page.getByTestId('new-token').click()
        await page.getByTestId('node-name').fill('haechi-3')
        await page.getByTestId('node-address').fill('10.20.0.14')
        t.deepEqual(await faults(page), [], 'add node')
        await page.screenshot({ path: shot('add-node') })
        await page.getByTestId('create-token').click()
        await page.getByTestId('join-token').waitFor()
        t.deepEqual(await faults(page), [], 'join token')
        await page.screenshot({ path: shot('join-token') })

        await page.goto('/pools/shop')
        await page.getByTestId('member-editor').getByRole('textbox').nth(1).fill('10.20.1.999')
        await page.getByTestId('add-member').click()
        await page.getByTestId('draft-bar').waitFor()
        t.deepEqual(await faults(page), [], 'draft with problems')
        await page.screenshot({ path: shot('pool-draft') })
        await page.getByTestId('member-editor').getByRole('textbox').nth(1).fill('10.20.1.41')
        await page.getByTestId('member-editor').locator('tbody tr').last().getByRole('textbox').nth(1).fill('10.20.1.15')
        await page.getByTestId('draft-review').click()
        await page.getByTestId('changes').waitFor()
        t.deepEqual(await faults(page), [], 'review')
        await page.screenshot({ path: shot('review') })
        await page.keyboard.press('Escape')
        fixture.otherApplies((d) => ({ ...d, pools: d.pools.map((p) => (p.name === 'shop' ? { ...p, retries: 4, members: p.members.map((m, at) => (at === 0 ? { ...m, address: '10.20.1.77' } : m)) } : p)) }), 'CHG-2320: more retries')
        await page.getByTestId('draft-review').click()
        await page.getByTestId('conflict').getByTestId('changes').waitFor()
        t.deepEqual(await faults(page), [], 'conflict')
        await page.screenshot({ path: shot('conflict') })
        await page.keyboard.press('Escape')
        await page.goto('/configuration')
        await page.getByTestId('edit-yaml').click()
        await page.getByTestId('yaml-text').waitFor()
        await page.getByTestId('yaml-text').press('Control+End')
        await page.getByTestId('yaml-text').pressSequentially('\n  - name: [')
        await page.getByTestId('take-over').and(page.locator(':disabled')).waitFor()
        await page.locator('.h-problems').waitFor()
        t.deepEqual(await faults(page), [], 'YAML editor')
        await page.screenshot({ path: shot('configuration-edit') })
        t.deepEqual(errors, [])
      })
    })
  }
}

withBrowser('sign-in: wrong password, too many attempts, forced change, viewer', async (t) => {
  await opened({ user: null }, async ({ page, fixture }) => {
    await page.goto('/pools')
    await page.getByLabel('User name').fill('newcomer')
    const attempt = async (password: string) => {
      await page.locator('input[autocomplete=current-password]').fill(password)
      await page.getByTestId('sign-in').click()
    }
    await attempt('wrong')
    t.is(await page.getByTestId('sign-in-error').innerText(), 'The name or the password is wrong.')
    await attempt(fixturePassword)
    await page.getByRole('heading', { name: 'Choose your password' }).waitFor()
    t.deepEqual(await seriousFaults(page), [])
    await page.screenshot({ path: join(screenshots, 'change-password-en-light.png') })
    await page.getByLabel('Current password').fill(fixturePassword)
    await page.getByLabel('New password', { exact: true }).fill('short')
    await page.getByTestId('change-password').click()
    await page.getByText('At least 10 characters are needed.').waitFor()
    await page.getByLabel('New password', { exact: true }).fill('a longer one of mine')
    await page.getByLabel('New password once more').fill('a longer one of mine')
    await page.getByTestId('change-password').click()
    // Back at the address that was asked for.
    await page.getByRole('heading', { name: 'Pools', level: 1 }).waitFor()
    t.is(fixture.users.get('newcomer')?.password, 'a longer one of mine')
    await page.getByTestId('user-menu').click()
    await page.getByTestId('sign-out').click()
    await page.getByLabel('User name').fill('admin')
    for (let n = 0; n < 6; n++) {
      await attempt('wrong')
      await page.getByTestId('sign-in-error').waitFor()
    }
    t.regex(await page.getByTestId('sign-in-error').innerText(), /^Too many attempts\. Try again in \d+ s\.$/)
    t.true(await page.getByTestId('sign-in').isDisabled())
  })
  await opened({ user: 'park' }, async ({ page, errors }) => {
    await page.goto('/pools/shop')
    await page.getByText('that needs the role Operator').waitFor()
    t.is(await page.getByTestId('add-member').getAttribute('aria-disabled'), 'true')
    t.true(await page.getByLabel('Port of shop-1').evaluate((field: HTMLInputElement) => field.readOnly))
    await page.screenshot({ path: join(screenshots, 'pool-viewer-en-light.png') })
    await page.goto('/users')
    await page.getByText('Users are for administrators').waitFor()
    t.deepEqual(errors, [])
  })
})

withBrowser('a pool and a listener are added, reviewed and applied; then rolled back', async (t) => {
  await opened({ scene: 'empty', user: 'kim' }, async ({ page, fixture, errors }) => {
    const name = async (text: string) => {
      await page.getByTestId('object-name').fill(text)
      await page.getByTestId('object-name-done').click()
    }
    await page.goto('/vips')
    await page.getByTestId('new-vip').first().click()
    await name('main')
    await page.getByTestId('vip-address').fill('10.0.0.100')
    await page.getByRole('link', { name: 'Pools' }).click()
    await page.getByTestId('new-pool').first().click()
    await name('web')
    await page.getByTestId('add-member').click()
    await page.getByLabel('Address of web-1').fill('10.0.0.300')
    await page.getByText('Not an IPv4 or IPv6 address.').waitFor()
    await page.getByText('1 problem').waitFor()
    await page.getByLabel('Address of web-1').fill('10.0.0.30')
    await page.getByRole('link', { name: 'Listeners' }).click()
    await page.getByTestId('new-listener').first().click()
    await name('web')
    await page.getByTestId('listener-port').fill('8080')
    t.is(await page.getByTestId('draft-count').innerText(), '3 changes not applied')
    // The draft outlives a reload, and its steps can be undone one by one.
    await page.reload()
    t.is(await page.getByTestId('draft-count').innerText(), '3 changes not applied')
    await page.getByTestId('draft-review').click()
    await page.getByTestId('changes').waitFor()
    await page.getByTestId('comment').fill('first service')
    await page.getByTestId('apply').click()
    await page.getByTestId('applied').waitFor()
    t.like(fixture.current, { revision: 2, author: 'kim', comment: 'first service' })
    t.is(fixture.current.document.listeners[0]?.port, 8080)
    t.is(fixture.current.document.pools[0]?.members[0]?.address, '10.0.0.30')
    await page.getByTestId('applied-close').click()
    await page.getByTestId('draft-bar').waitFor({ state: 'detached' })

    await page.goto('/revisions/1')
    await page.getByTestId('roll-back').click()
    await page.getByRole('dialog').getByTestId('changes').waitFor()
    await page.getByTestId('comment').fill('not yet')
    await page.screenshot({ path: join(screenshots, 'roll-back-en-light.png') })
    await page.getByTestId('confirm').click()
    await page.waitForURL('**/revisions/3')
    t.like(fixture.current, { revision: 3, rolledBackTo: 1, comment: 'not yet' })
    t.deepEqual(fixture.current.document.pools, [])
    t.deepEqual(errors, [])
  })
})

withBrowser('the balancing of a pool is edited: a hash with its options, limits and order of the members', async (t) => {
  await opened({}, async ({ page, fixture, errors }) => {
    const choose = async (label: string, option: string) => {
      await page.getByLabel(label, { exact: true }).and(page.locator('input')).click()
      await page.getByRole('option', { name: option, exact: true }).click()
    }
    const apply = async () => {
      await page.getByTestId('draft-review').click()
      await page.getByTestId('changes').waitFor()
      await page.getByTestId('apply').click()
      await page.getByTestId('applied').waitFor()
      await page.getByTestId('applied-close').click()
      return fixture.current.document.pools.find((pool) => pool.name === 'shop')!
    }
    await page.goto('/pools/shop')
    await settled(page)
    await unfold(page)
    await page.getByRole('switch', { name: 'Dynamic weights' }).click({ force: true })
    await choose('Balancing', 'Hash')
    await page.getByRole('switch', { name: 'Dynamic weights' }).waitFor({ state: 'detached' })
    await choose('Key', 'Header')
    await page.getByText('Required.').waitFor()
    await page.getByLabel('Header name').fill('X-Tenant')
    await page.getByLabel('Balance factor').fill('125')
    await page.getByLabel('Minimum members').fill('2')
    await page.getByLabel('Most connections of shop-1').fill('50')
    await page.getByLabel('Priority of shop-2').fill('1')
    await page.getByText('Backup', { exact: true }).waitFor()
    await page.getByRole('switch', { name: 'shop-2 is a backup' }).click({ force: true })
    const hashed = await apply()
    t.like(hashed, { balance: 'hash', hash: { on: 'header', name: 'X-Tenant', balanceFactor: 125 }, minimumMembers: 2, dynamicWeights: undefined })
    t.like(hashed.members.find(({ name }) => name === 'shop-1'), { maxConnections: 50, backup: undefined })
    t.like(hashed.members.find(({ name }) => name === 'shop-2'), { priority: 1, backup: true })

    await choose('Balancing', 'Least response time')
    await page.getByRole('switch', { name: 'Dynamic weights' }).click({ force: true })
    await page.getByLabel('Minimum members').fill('1')
    await page.getByRole('switch', { name: 'shop-2 is a backup' }).click({ force: true })
    const measured = await apply()
    t.like(measured, { balance: 'least-response-time', hash: undefined, minimumMembers: undefined, dynamicWeights: true })
    t.false('backup' in measured.members.find(({ name }) => name === 'shop-2')!)
    t.deepEqual(errors, [])
  })
})

withBrowser('the persistence of a pool is edited; clients are found and forgotten', async (t) => {
  await opened({}, async ({ page, fixture, errors }) => {
    const choose = async (label: string, option: string) => {
      await page.getByLabel(label, { exact: true }).and(page.locator('input')).click()
      await page.getByRole('option', { name: option, exact: true }).click()
    }
    const apply = async () => {
      await page.getByTestId('draft-review').click()
      await page.getByTestId('changes').waitFor()
      await page.getByTestId('apply').click()
      await page.getByTestId('applied').waitFor()
      await page.getByTestId('applied-close').click()
      return fixture.current.document.pools.find((pool) => pool.name === 'shop')!
    }
    await page.goto('/pools/shop')
    await settled(page)
    await unfold(page)
    await choose('Kept by', 'Cookie of Haechi')
    await page.getByLabel('Cookie name').fill('SHOP')
    await page.getByLabel('Max-Age').fill('8h')
    await choose('SameSite', 'Strict')
    t.like((await apply()).persistence, { type: 'cookie', cookieName: 'SHOP', cookie: { path: '/', maxAge: '8h', secure: 'auto', httpOnly: true, sameSite: 'strict', toMember: false } })

    await choose('Kept by', 'Header field')
    await page.getByText('Required.').waitFor()
    await page.getByLabel('Header name').fill('X-Tenant')
    await page.getByLabel('Most clients').fill('5000')
    t.like((await apply()).persistence, { type: 'header', header: 'X-Tenant', cookieName: undefined, maxEntries: 5000, ttl: '30m' })

    await page.getByRole('link', { name: 'Clients that are kept' }).click()
    await settled(page)
    t.is(await page.getByTestId('session-list').locator('tbody tr').count(), 2)
    await page.goto('/sessions')
    await settled(page)
    await page.getByTestId('session-search').fill('10.1.2.3')
    await page.waitForFunction(() => document.querySelectorAll('[data-testid=session-list] tbody tr').length === 1)
    await page.getByRole('button', { name: 'Forget 10.1.2.3' }).click()
    await page.getByTestId('confirm').click()
    await page.getByText('1 client was forgotten.').waitFor()
    t.is(fixture.entries.length, 3)
    await page.getByTestId('session-search').fill('')
    await page.waitForFunction(() => document.querySelectorAll('[data-testid=session-list] tbody tr').length === 3)
    await page.getByTestId('purge-sessions').click()
    await page.getByTestId('confirm').click()
    await page.getByText('No client is kept').waitFor()
    t.is(fixture.entries.length, 0)

    await page.goto('/pools/shop')
    await settled(page)
    await choose('Kept by', 'Nothing')
    t.false('persistence' in (await apply()))
    t.deepEqual(errors, [])
  })
})

withBrowser('the health of a pool is edited: check, passive health, circuit breaker, maintenance page', async (t) => {
  await opened({}, async ({ page, fixture, errors }) => {
    const apply = async () => {
      await page.getByTestId('draft-review').click()
      await page.getByTestId('changes').waitFor()
      await page.getByTestId('apply').click()
      await page.getByTestId('applied').waitFor()
      await page.getByTestId('applied-close').click()
      return fixture.current.document.pools.find((pool) => pool.name === 'shop')!
    }
    const flip = async (name: string) => await page.getByRole('switch', { name }).click({ force: true })
    await page.goto('/pools/shop')
    await settled(page)
    await unfold(page)
    await page.getByLabel('Expected text').fill('all is well')
    await page.getByLabel('Further headers').pressSequentially('X-Probe: haechi\nX-Other: a b')
    await page.getByLabel('Interval while down').fill('10s')
    await page.getByLabel('Probed port').fill('8081')
    await flip('Eject members that fail')
    await page.getByLabel('Failures in a row').fill('7')
    await page.getByLabel('Panic threshold').fill('30')
    await page.getByLabel('Slow start').fill('1m')
    await page.getByLabel('Drain timeout').fill('5 min')
    await page.getByText('A number with a unit').waitFor()
    await page.getByLabel('Drain timeout').fill('5m')
    await flip('Circuit breaker')
    await flip('Page of its own')
    await page.getByLabel('Body', { exact: true }).fill('<p>Back soon</p>\n')
    await page.screenshot({ path: join(screenshots, 'pool-health.png'), fullPage: true })
    t.deepEqual(await seriousFaults(page), [])
    const edited = await apply()
    t.like(edited, {
      healthCheck: { expectBody: 'all is well', headers: [{ name: 'X-Probe', value: 'haechi' }, { name: 'X-Other', value: 'a b' }], downInterval: '10s', port: 8081 },
      passiveHealth: { failures: 7, maxEjected: 50 }, panicThreshold: 30, slowStart: '1m', drainTimeout: '5m', circuitBreaker: { failures: 20 },
      maintenance: { enabled: false, status: 503, body: '<p>Back soon</p>\n' },
    })

    await flip('Eject members that fail')
    await flip('Circuit breaker')
    await page.getByLabel('Panic threshold').fill('0')
    await page.getByLabel('Slow start').fill('')
    await flip('Maintenance now')
    const after = await apply()
    t.true(after.maintenance!.enabled)
    for (const field of ['passiveHealth', 'circuitBreaker', 'panicThreshold', 'slowStart']) t.false(field in after, field)
    t.deepEqual(errors, [])
  })
})

withBrowser('a preferred node is chosen, and nobody again; a node that is not there is named', async (t) => {
  await opened({}, async ({ page, fixture }) => {
    const applied = async () => {
      await page.getByTestId('draft-review').click()
      await page.getByTestId('apply').and(page.locator(':enabled')).click()
      await page.getByTestId('applied-close').click()
      return fixture.current.document.failover
    }
    await page.goto('/vips')
    const preempt = page.getByTestId('failover-preempt')
    t.true(await preempt.isDisabled())
    await page.getByTestId('failover-preferred').click()
    t.deepEqual(await page.getByRole('option').allInnerTexts(), ['nobody: all nodes are equal', 'haechi-1', 'haechi-2'])
    await page.getByRole('option', { name: 'haechi-2' }).click()
    await preempt.check()
    await page.getByTestId('failover-delay').fill('soon')
    await page.getByTestId('failover').locator('.mantine-Input-wrapper[data-error]').waitFor()
    await page.getByTestId('failover-delay').fill('45s')
    t.deepEqual(await seriousFaults(page), [])
    await page.screenshot({ path: join(screenshots, 'failover-en-light.png') })
    t.deepEqual(await applied(), { preferredNode: 'haechi-2', preempt: true, preemptDelay: '45s' })
    await page.getByTestId('failover-preferred').click()
    await page.getByRole('option', { name: 'nobody' }).click()
    t.is(await applied(), undefined)
    fixture.otherApplies((d) => ({ ...d, failover: { preferredNode: 'gone', preempt: false, preemptDelay: '30s' } }), 'a node that left')
    await page.reload()
    await page.getByTestId('failover-preferred').and(page.locator('[value="gone: no such node"]')).waitFor()
  })
})

withBrowser('what holds only defaults is folded away, says what it holds, and opens for a problem', async (t) => {
  await opened({}, async ({ page, errors }) => {
    await page.goto('/listeners/web')
    await settled(page)
    const panel = page.getByTestId('listener-access')
    const head = panel.getByRole('button', { name: 'Access and rates' })
    t.is(await head.getAttribute('aria-expanded'), 'false')
    await panel.getByText('all as by default').waitFor()
    await head.focus()
    await page.keyboard.press('Enter')
    await page.getByTestId('listener-per-source').fill('0')
    await page.getByTestId('listener-rate-limit').click({ force: true })
    await page.keyboard.press('Tab')
    await panel.getByLabel('Requests').fill('0')
    await panel.locator('.mantine-InputWrapper-error').waitFor()
    // A problem keeps it open, also on another visit of the page.
    await head.click()
    t.is(await head.getAttribute('aria-expanded'), 'true')
    await page.reload()
    await settled(page)
    await panel.locator('.mantine-InputWrapper-error').waitFor()
    await panel.getByLabel('Requests').fill('20')
    await panel.locator('.mantine-InputWrapper-error').waitFor({ state: 'detached' })
    await head.click()
    await panel.getByText('Rate limit', { exact: true }).waitFor()
    t.is(await head.getAttribute('aria-expanded'), 'false')
    t.deepEqual(errors, [])
  })
})

withBrowser('undo and redo walk through the edits, and discard ends the draft', async (t) => {
  await opened({}, async ({ page }) => {
    await page.goto('/pools/shop')
    await page.getByLabel('Weight of shop-1').fill('5')
    await page.getByLabel('Port of shop-2').fill('8081')
    t.is(await page.getByTestId('draft-count').innerText(), '2 changes not applied')
    await page.getByRole('button', { name: 'Undo' }).click()
    t.is(await page.getByLabel('Port of shop-2').inputValue(), '8080')
    t.is(await page.getByTestId('draft-count').innerText(), '1 change not applied')
    await page.getByRole('button', { name: 'Redo' }).click()
    t.is(await page.getByLabel('Port of shop-2').inputValue(), '8081')
    await page.getByTestId('draft-discard').click()
    await page.getByTestId('confirm').click()
    await page.getByTestId('draft-bar').waitFor({ state: 'detached' })
    t.is(await page.getByLabel('Weight of shop-1').inputValue(), '1')
  })
})

withBrowser('a conflict shows the other change and rebases without losing either', async (t) => {
  await opened({}, async ({ page, fixture }) => {
    const before = fixture.current.revision
    await page.goto('/pools/shop')
    await page.getByLabel('Weight of shop-1').fill('5')
    await page.getByLabel('Port of shop-2').fill('8081')
    fixture.otherApplies(
      (d) => ({ ...d, pools: d.pools.map((p) => (p.name === 'shop' ? { ...p, retries: 7, members: p.members.map((m) => (m.name === 'shop-2' ? { ...m, port: 8099 } : m)) } : p)) }),
      'another change',
    )
    await page.getByText(`Based on revision ${before}, but ${before + 1} is in force now`).waitFor()
    await page.getByTestId('draft-review').click()
    const conflict = page.getByTestId('conflict')
    await conflict.getByTestId('changes').getByText('pools/shop/retries').waitFor()
    await conflict.getByText('pools/shop/members/shop-2/port').last().waitFor()
    t.true(await page.getByTestId('rebase').isDisabled(), 'an overlap has to be decided by a person')
    await conflict.getByText('Take theirs').click()
    await page.getByTestId('rebase').click()
    await page.getByTestId('apply').and(page.locator(':enabled')).click()
    await page.getByTestId('applied').waitFor()
    const pool = fixture.current.document.pools.find((candidate) => candidate.name === 'shop')
    t.is(pool?.retries, 7)
    t.is(pool?.members[1]?.port, 8099)
    t.is(pool?.members[0]?.weight, 5)
    t.is(fixture.current.revision, before + 2)
  })
})

withBrowser('a change that comes in the same moment is found by the node and never overwritten', async (t) => {
  await opened({}, async ({ page, fixture }) => {
    await page.goto('/pools/shop')
    await page.getByLabel('Weight of shop-1').fill('5')
    await page.getByTestId('draft-review').click()
    await page.getByTestId('apply').and(page.locator(':enabled')).waitFor()
    // The console does not know of the other change until its own is refused.
    await page.route('**/api/v1/config?comment=*', async (route) => {
      fixture.otherApplies((d) => ({ ...d, pools: d.pools.map((p) => ({ ...p, retries: 9 })) }), 'just before')
      await route.continue()
    })
    await page.getByTestId('apply').click()
    await page.getByTestId('conflict').waitFor()
    t.is(fixture.current.comment, 'just before')
  })
})

withBrowser('YAML is edited as text and becomes the draft', async (t) => {
  await opened({}, async ({ page }) => {
    await page.goto('/configuration')
    await page.getByTestId('edit-yaml').click()
    const text = await page.getByTestId('yaml-text').inputValue()
    await page.getByTestId('yaml-text').fill(text.replace('port: 5432', 'port: 70000'))
    await page.getByRole('button', { name: /^Line \d+$/ }).waitFor()
    t.true(await page.getByTestId('take-over').isDisabled())
    await page.getByTestId('yaml-text').fill(text.replace('port: 5432', 'port: 5433'))
    await page.getByTestId('take-over').and(page.locator(':enabled')).click()
    t.is(await page.getByTestId('draft-count').innerText(), '1 change not applied')
    await page.goto('/listeners/orders-db')
    t.is(await page.getByTestId('listener-port').inputValue(), '5433')
  })
})

withBrowser('a lost connection is shown, names the other consoles, and heals; an ended session asks to sign in', async (t) => {
  await opened({}, async ({ page, fixture }) => {
    await settled(page)
    fixture.acceptLive = false
    fixture.dropLive()
    const banner = page.getByTestId('connection-lost')
    await banner.waitFor()
    t.is(await banner.getByRole('link').getAttribute('href'), 'http://10.20.0.12:8443/')
    t.deepEqual(await seriousFaults(page), [])
    await page.screenshot({ path: join(screenshots, 'connection-lost-en-light.png') })
    fixture.acceptLive = true
    await banner.waitFor({ state: 'detached' })
    fixture.endSessions()
    await page.getByText('Your session has ended.').waitFor()
  })
})

withBrowser('nodes: a token is shown once with its command, and removing one needs its name', async (t) => {
  await opened({}, async ({ page, fixture }) => {
    await page.goto('/nodes')
    await page.getByTestId('new-token').click()
    await page.getByTestId('node-name').fill('haechi-3')
    t.true(await page.getByTestId('create-token').isDisabled())
    await page.getByTestId('node-address').fill('10.20.0.14')
    await page.getByTestId('create-token').click()
    t.regex(
      await page.getByTestId('join-token').locator('code').first().innerText(),
      /^haechi node join haechi1\.[\w-]+ --dir \/var\/lib\/haechi --name haechi-3 --address 10\.20\.0\.14:7400 --api 10\.20\.0\.14:8443 --role node$/,
    )
    await page.getByTestId('join-token').getByRole('button', { name: 'Close' }).click()
    await page.getByRole('button', { name: 'Remove haechi-w' }).click()
    t.true(await page.getByTestId('confirm').isDisabled())
    await page.getByLabel('Type haechi-w to confirm').fill('haechi-w')
    await page.getByTestId('confirm').click()
    await page.getByRole('dialog').waitFor({ state: 'detached' })
    t.is(fixture.overview(false).nodes.length, 2)
  })
})

withBrowser('keyboard: the palette opens a page, and the language and colours are remembered', async (t) => {
  await opened({}, async ({ page }) => {
    await settled(page)
    await page.keyboard.press('Control+k')
    await page.getByPlaceholder('Page, VIP, listener, pool or action').fill('orders')
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('Enter')
    await page.waitForURL(/orders-db$/)
    await page.getByTestId('language').click()
    await page.getByRole('menuitem', { name: '한국어' }).click()
    await page.getByRole('link', { name: '감사 로그' }).waitFor()
    await page.getByTestId('theme').click()
    await page.getByRole('menuitem', { name: '어둡게' }).click()
    await page.reload()
    await page.getByRole('link', { name: '감사 로그' }).waitFor()
    t.is(await page.locator('html').getAttribute('data-mantine-color-scheme'), 'dark')
  })
})

withBrowser('Ctrl+K pressed before the palette has loaded opens it once it has', async (t) => {
  await opened({ user: null }, async ({ page }) => {
    let pressed!: () => void
    const wait = new Promise<void>((resolve) => (pressed = resolve))
    let held = 0
    await page.route(/CommandPalette/, async (route) => {
      held++
      await wait
      await route.continue()
    })
    await signIn(page, 'admin')
    await page.keyboard.press('Control+k')
    pressed()
    await page.getByPlaceholder('Page, VIP, listener, pool or action').fill('orders')
    t.true(held > 0)
  })
})

withBrowser('overview and hand-over work on a phone', async (t) => {
  await opened({ width: 390, height: 844 }, async ({ page }) => {
    await settled(page)
    t.true((await overflow(page)) <= 0)
    await wholePage(page, join(screenshots, 'overview-phone.png'))
    await page.getByTestId('hand-over').click()
    await page.getByTestId('hand-over-confirm').click()
    await page.getByTestId('hand-over-progress').and(page.locator('[data-done=true]')).waitFor()
    await page.screenshot({ path: join(screenshots, 'hand-over-phone.png') })
  })
})

withBrowser('a certificate is pasted, its notes are shown, and another is removed after a question', async (t) => {
  await opened({ user: 'kim' }, async ({ page, fixture, errors }) => {
    await page.goto('/certificates')
    await settled(page)
    t.is(await page.getByRole('button', { name: 'Remove shop' }).getAttribute('aria-disabled'), 'true', 'the configuration uses it')
    await page.getByTestId('new-certificate').click()
    await page.getByTestId('certificate-name').fill('Shop')
    await page.getByText('Only lower-case letters').waitFor()
    await page.getByTestId('certificate-name').fill('shop')
    await page.getByText('shop', { exact: false }).first().waitFor()
    t.true(await page.getByTestId('certificate-put').isDisabled())
    await page.getByTestId('certificate-name').fill('blog')
    await page.getByTestId('certificate-pem').fill('-----BEGIN CERTIFICATE-----')
    await page.getByTestId('certificate-key').fill('-----BEGIN PRIVATE KEY-----')
    t.deepEqual(await seriousFaults(page), [])
    await page.screenshot({ path: join(screenshots, 'certificate-add.png') })
    await page.getByTestId('certificate-put').click()
    await page.getByText('The certificate is signed by itself').waitFor()
    await page.getByRole('dialog').getByRole('button', { name: 'Close' }).last().click()
    await page.locator('[data-row=blog]').waitFor()
    await page.getByRole('button', { name: 'Remove legacy' }).click()
    await page.getByText('Its private key is kept nowhere else').waitFor()
    await page.getByTestId('confirm').click()
    await page.locator('[data-row=legacy]').waitFor({ state: 'detached' })
    t.deepEqual(fixture.certificates.list.map(({ name }) => name), ['api', 'blog', 'partners', 'shop'])
    t.deepEqual(errors, [])
  })
})

withBrowser('1280 pixels are enough for every page', async (t) => {
  await opened({ width: 1280, height: 800 }, async ({ page }) => {
    for (const [name, path] of pages) {
      await page.goto(path)
      await settled(page)
      t.true((await overflow(page)) <= 0, name)
      t.true(['overview', 'listeners', 'nodes'].includes(name) ? (await page.locator('.mantine-TableScrollContainer-scrollContainer').count()) > 0 : true, `${name} has its tables`)
      const scrolled = await page.evaluate(() => [...document.querySelectorAll('.mantine-TableScrollContainer-scrollContainer')].filter((box) => box.scrollWidth > box.clientWidth + 1).length)
      t.is(scrolled, 0, `${name} has a table that is cut off`)
    }
    await page.goto('/nodes')
    await settled(page)
    await page.screenshot({ path: join(screenshots, 'nodes-1280.png') })
  })
})

withBrowser('the first load is small and asks nobody else', async (t) => {
  await opened({ user: null }, async ({ page, origin }) => {
    const asked: string[] = []
    page.on('request', (request) => asked.push(request.url()))
    await signIn(page, 'admin')
    await settled(page)
    t.deepEqual(asked.filter((url) => !url.startsWith(origin) && !url.startsWith('data:') && !url.startsWith('blob:')), [])
    let bytes = 0
    for (const url of new Set(asked)) {
      const path = new URL(url).pathname
      if (!/\.(js|css|svg)$/.test(path)) continue
      bytes += gzipSync(await readFile(join(consoleDirectory, path))).length
    }
    const fonts = asked.filter((url) => url.endsWith('.woff2'))
    t.log(`first load: ${(bytes / 1024).toFixed(0)} KiB compressed in ${asked.length} requests, and ${fonts.length} font files`)
    t.true(bytes <= firstLoadLimit, `${bytes} bytes`)
    t.true((await readdir(consoleDirectory)).includes('index.html'))
  })
})

withBrowser('a route is edited: further rules, weighted pools, rewrites, retries, a redirect; and what the listener does with all requests', async (t) => {
  await opened({}, async ({ page, fixture, errors }) => {
    const choose = async (label: string, option: string) => {
      await page.getByLabel(label, { exact: true }).and(page.locator('input')).click()
      await page.getByRole('option', { name: option, exact: true }).click()
    }
    const tag = async (label: string, text: string) => {
      await page.getByLabel(label, { exact: true }).and(page.locator('input')).fill(text)
      await page.keyboard.press('Enter')
    }
    const apply = async () => {
      await page.getByTestId('draft-review').click()
      await page.getByTestId('changes').waitFor()
      await page.getByTestId('apply').click()
      await page.getByTestId('applied').waitFor()
      await page.getByTestId('applied-close').click()
      return fixture.current.document.listeners.find((listener) => listener.name === 'web')!
    }
    await page.goto('/listeners/web')
    await settled(page)
    await page.getByTestId('add-route').first().click()
    await page.getByTestId('route-open').last().click()
    await unfold(page)
    await tag('Methods', 'get')
    await page.getByTestId('route-path-regex').fill('^/v[0-9]+/')
    await page.getByLabel('Cookies').pressSequentially('group = beta\n!old')
    await choose('Action', 'To several pools')
    await unfold(page)
    await page.getByTestId('route-add-pool').click()
    await page.getByLabel(/^Weight of/).last().fill('5')
    await page.getByText('4.8 %').waitFor()
    await page.getByLabel('Replacement').waitFor()
    await page.getByLabel('Path, regular expression').last().fill('^/v([0-9]+)')
    await page.getByLabel('Replacement').fill('/version/$1')
    await page.getByLabel('Whole exchange').fill('20s')
    await page.getByTestId('route-retries').click({ force: true })
    await tag('After statuses', '503')
    await page.getByLabel('Set in requests').first().fill('X-Version: new')
    const route = (await apply()).routes.at(-1)!
    t.like(route, {
      pool: undefined,
      match: { methods: ['GET'], pathRegex: '^/v[0-9]+/', cookies: [{ name: 'group', equals: 'beta', not: false }, { name: 'old', not: true }] },
      rewrite: { regex: '^/v([0-9]+)', replacement: '/version/$1' },
      timeouts: { request: '20s' },
      retries: { attempts: 1, statuses: [503], budgetPercent: 20 },
      headers: { setRequest: [{ name: 'X-Version', value: 'new' }] },
    })
    t.deepEqual(route.pools?.map(({ weight }) => weight), [100, 5])
    t.deepEqual(await seriousFaults(page), [])

    await choose('Action', 'Redirect')
    await choose('Scheme', 'https')
    await page.getByTestId('listener-redirect-to-https').fill('443')
    await choose('Ambiguous paths', 'Rewritten')
    const listener = await apply()
    t.like(listener, { redirectToHttps: 443, normalizePath: 'forward' })
    const redirected = listener.routes.at(-1)!
    t.like(redirected, { redirect: { status: 302, scheme: 'https', keepQuery: true }, pools: undefined, retries: undefined, rewrite: undefined })
    t.deepEqual(errors, [])
  })
})
