/**
 * The operator's path in a real browser on a real cluster: sign in with the one-time password, add a pool and a listener,
 * see their traffic live, see a killed member turn down, roll back, and a node killed under the open console. Screenshots of
 * the real pages go to /screenshots.
 */
import { existsSync, mkdirSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import { chromium, type Page } from 'playwright-core'
import { DevCluster, fetchOnce, until } from './dev-cluster.ts'

const executablePath = '/usr/bin/chromium'
const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']
const screenshots = join(import.meta.dirname, '..', '..', 'screenshots')
const hasBrowser = existsSync(executablePath)
if (!hasBrowser) console.log(`# the browser test is skipped: there is no ${executablePath}`)

function startBackend(text: string): Promise<{ server: Server; port: number }> {
  const server = createServer((_request, response) => response.end(text))
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve({ server, port: (server.address() as AddressInfo).port })))
}

async function settled(page: Page): Promise<void> {
  await page.locator('h1').first().waitFor()
  // Runs in the browser, whose types are not those of this program.
  await page.waitForFunction(() => {
    const { document } = globalThis as unknown as { document: { querySelectorAll(selector: string): { length: number } } }
    return document.querySelectorAll('[aria-busy=true], [data-loading=true]').length === 0
  })
}

const run = hasBrowser ? test.serial : test.serial.skip
run('an operator signs in, adds a service, watches it, loses a member, rolls back', async (t) => {
  t.timeout(240_000)
  mkdirSync(screenshots, { recursive: true })
  const cluster = new DevCluster({ vip: '127.0.0.92:18082', basePort: 17200 })
  const backends = await Promise.all([startBackend('from one\n'), startBackend('from two\n')])
  const browser = await chromium.launch({ executablePath, args })
  const serviceUrl = 'http://127.0.0.92:18083/'
  let polling = true
  try {
    await cluster.ready()
    const page = await browser.newPage({ locale: 'en-GB', viewport: { width: 1440, height: 900 } })
    page.setDefaultTimeout(20_000)
    const errors: string[] = []
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()))
    page.on('pageerror', (error) => errors.push(String(error)))

    // The one-time password opens the door to choosing one's own, and to nothing else.
    await page.goto(`${cluster.consoleUrl(2)}/`)
    await page.locator('input[autocomplete=username]').fill('admin')
    await page.locator('input[autocomplete=current-password]').fill(cluster.password)
    await page.getByTestId('sign-in').click()
    await page.getByRole('heading', { name: 'Choose your password' }).waitFor()
    await page.getByLabel('Current password').fill(cluster.password)
    await page.getByLabel('New password', { exact: true }).fill('a password of my own')
    await page.getByLabel('New password once more').fill('a password of my own')
    await page.getByTestId('change-password').click()
    await page.getByTestId('connection').and(page.locator('[data-phase=live]')).waitFor()
    await page.getByTestId('cluster-state').waitFor()

    // A pool with both backends, and a listener on the VIP.
    const name = async (text: string): Promise<void> => {
      await page.getByTestId('object-name').fill(text)
      await page.getByTestId('object-name-done').click()
    }
    await page.getByRole('link', { name: 'Pools' }).first().click()
    await page.getByTestId('new-pool').first().click()
    await name('shop')
    for (const [i, { port }] of backends.entries()) {
      await page.getByTestId('add-member').first().click()
      await page.getByLabel(`Address of shop-${i + 1}`).fill('127.0.0.1')
      await page.getByLabel(`Port of shop-${i + 1}`).fill(String(port))
    }
    await page.getByRole('link', { name: 'Listeners' }).first().click()
    await page.getByTestId('new-listener').first().click()
    await name('shop-http')
    await page.getByTestId('listener-port').fill('18083')
    await page.getByTestId('listener-pool').click()
    await page.getByRole('option', { name: 'shop', exact: true }).click()
    await page.getByTestId('draft-review').click()
    await page.getByTestId('changes').waitFor()
    await page.screenshot({ path: join(screenshots, 'real-review.png') })
    await page.getByTestId('comment').fill('the shop goes live')
    await page.getByTestId('apply').click()
    await page.getByTestId('applied').waitFor()
    await page.getByTestId('applied-close').click()
    await until('the new service answers', async () => (await fetchOnce(serviceUrl, { timeoutMs: 500 })).status === 200)

    // Its traffic, live.
    const poll = (async () => {
      while (polling) {
        await fetchOnce(serviceUrl, { timeoutMs: 1000 }).catch(() => undefined)
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    })()
    await page.getByRole('link', { name: 'Overview' }).first().click()
    const poolsPanel = page.getByTestId('pools')
    const shopRow = poolsPanel.locator('tr', { has: page.getByRole('link', { name: 'shop', exact: true }) })
    await until('the pool shows requests per second', async () => {
      const text = await shopRow.innerText()
      const rates = [...text.matchAll(/(\d+(?:\.\d+)?)\s*(?:\/s|requests?\/s)/g)].map((found) => Number(found[1]))
      return rates.some((rate) => rate > 5)
    }, 20_000)
    await page.screenshot({ path: join(screenshots, 'real-overview.png'), fullPage: true })

    // A member dies and turns down, by itself, on the open page; the service goes on without it.
    backends[0]!.server.close()
    backends[0]!.server.closeAllConnections()
    if ((await page.getByTestId('members-shop').count()) === 0) await shopRow.getByRole('button').first().click()
    const member = page.getByTestId('members-shop').locator('tr', { hasText: 'shop-1' })
    await until('the killed member turns down', async () => /\bDown\b/i.test(await member.innerText()), 30_000)
    await page.screenshot({ path: join(screenshots, 'real-overview-member-down.png'), fullPage: true })
    for (let i = 0; i < 6; i++) t.is((await fetchOnce(serviceUrl)).body, 'from two\n')

    // Roll back to the revision before.
    await page.getByRole('link', { name: 'Revisions' }).first().click()
    await settled(page)
    await page.goto(`${cluster.consoleUrl(2)}/revisions/2`)
    await page.getByTestId('roll-back').click()
    await page.getByRole('dialog').getByTestId('changes').waitFor()
    await page.getByTestId('comment').fill('the shop closes')
    await page.getByTestId('confirm').click()
    await page.waitForURL('**/revisions/4')
    polling = false
    await poll
    await until('the service is gone', async () => fetchOnce(serviceUrl, { timeoutMs: 500 }).then(() => false, () => true))
    t.is((await fetchOnce(cluster.vipUrl)).status, 200)
    t.deepEqual(errors, [])

    // Every page of the real thing, in both languages and both colour schemes.
    for (const language of ['en', 'ko'] as const) {
      for (const scheme of ['light', 'dark'] as const) {
        const context = await browser.newContext({ locale: language === 'ko' ? 'ko-KR' : 'en-GB', colorScheme: scheme, viewport: { width: 1440, height: 900 } })
        const other = await context.newPage()
        const found: string[] = []
        other.on('console', (message) => message.type() === 'error' && found.push(message.text()))
        await other.goto(`${cluster.consoleUrl(1)}/`)
        await other.locator('input[autocomplete=username]').fill('admin')
        await other.locator('input[autocomplete=current-password]').fill('a password of my own')
        await other.getByTestId('sign-in').click()
        await other.getByTestId('connection').and(other.locator('[data-phase=live]')).waitFor()
        for (const [title, path] of [
          ['overview', '/'], ['vips', '/vips'], ['listeners', '/listeners'], ['listener', '/listeners/web'], ['pools', '/pools'], ['pool', '/pools/samples'],
          ['configuration', '/configuration'], ['revisions', '/revisions'], ['revision', '/revisions/3'], ['nodes', '/nodes'], ['users', '/users'], ['audit', '/audit'],
        ] as const) {
          await other.goto(`${cluster.consoleUrl(1)}${path}`)
          await settled(other)
          await other.screenshot({ path: join(screenshots, `real-${title}-${language}-${scheme}.png`), fullPage: title === 'overview' })
        }
        t.deepEqual(found, [])
        await context.close()
      }
    }

    // The node behind the open console dies: the page says so, and comes back with it.
    await page.goto(`${cluster.consoleUrl(2)}/`)
    await page.getByTestId('connection').and(page.locator('[data-phase=live]')).waitFor()
    process.kill(cluster.heartPid('node2'), 'SIGKILL')
    await page.getByTestId('connection-lost').waitFor()
    await page.screenshot({ path: join(screenshots, 'real-connection-lost.png') })
    await page.getByTestId('connection').and(page.locator('[data-phase=live]')).waitFor({ timeout: 30_000 })
  } catch (error) {
    t.log(cluster.output)
    throw error
  } finally {
    polling = false
    await browser.close()
    for (const { server } of backends) {
      server.close()
      server.closeAllConnections()
    }
    await cluster.destroy()
  }
})
