/** `haechi route-test`: which route a request would take, in the cluster or by a file that is not applied yet. */
import { type Command, InvalidArgumentError } from 'commander'
import type { RouteTestView } from '../api/types.ts'
import { readAddress } from '../config/address.ts'
import { explainRoute } from '../proxy/explain.ts'
import { readDocumentFile } from './config.ts'
import type { CommandContext } from './program.ts'
import { exit, Failure, printable, table, type Terminal } from './terminal.ts'

interface Options {
  readonly listener?: string
  readonly method: string
  readonly header: readonly { readonly name: string; readonly value: string }[]
  readonly from: string
  readonly file?: string
}

export function addRouteCommands(program: Command, context: CommandContext): void {
  const { terminal } = context
  program
    .command('route-test')
    .description('which route a request would take, and why not another one; nothing is sent')
    .argument('<url>', 'such as http://www.example.com/a?b')
    .option('-l, --listener <name>', 'the listener that gets the request')
    .option('-X, --method <method>', 'method of the request', 'GET')
    .option('-H, --header <field>', 'a header field, such as "Cookie: a=b"; may be given several times', parseHeader, [])
    .option('--from <address>', 'address of the client', parseAddress, '192.0.2.1')
    .option('-f, --file <file>', 'by this YAML or JSON file, without a cluster; - for standard input')
    .action(async (url: string, options: Options, command: Command) => {
      const { host, target } = partsOf(url)
      const { listener, method, header: headers, from: source, file } = options
      let view: RouteTestView
      if (file === undefined) {
        if (listener === undefined) throw new Failure('say which listener gets the request', exit.usage, 'Add --listener.')
        view = await (await context.connect(command)).call<RouteTestView>('POST', '/route-test', { body: { listener, method, target, host, headers, source } })
      } else {
        const { result } = await readDocumentFile(file, terminal)
        if (!result.ok) throw new Failure(`${file} is not valid; \`haechi config check\` says why`)
        const { document } = result
        const http = document.listeners.filter(({ protocol }) => protocol === 'http' || protocol === 'https')
        const found = listener === undefined ? (http.length === 1 ? http[0] : undefined) : http.find(({ name }) => name === listener)
        if (found === undefined) {
          throw new Failure(listener === undefined ? 'say which listener gets the request' : `there is no listener ${listener} that speaks HTTP`, exit.usage, `There are: ${http.map(({ name }) => name).join(', ')}`)
        }
        view = explainRoute(document, found, { method, target, host, headers, source })
      }
      context.print(command, view, () => text(terminal, view))
    })
}

/** As it was written: a URL reader would make `/a/../b` another request. */
function partsOf(url: string): { host: string; target: string } {
  const found = /^(?:https?:\/\/)?([^/?#\s]+)([/?][^#\s]*)?$/i.exec(url)
  if (found === null) throw new Failure(`${JSON.stringify(url)} is no URL such as http://www.example.com/a`, exit.usage)
  const target = found[2] ?? '/'
  return { host: found[1]!, target: target.startsWith('/') ? target : `/${target}` }
}

function parseHeader(field: string, before: readonly { name: string; value: string }[]): { name: string; value: string }[] {
  const colon = field.indexOf(':')
  if (colon <= 0) throw new InvalidArgumentError('expected a name, a colon and a value.')
  return [...before, { name: field.slice(0, colon), value: field.slice(colon + 1).trim() }]
}

function parseAddress(address: string): string {
  const read = readAddress(address)
  if (!read.ok) throw new InvalidArgumentError(`expected ${read.expected}.`)
  return read.address
}

function text(terminal: Terminal, view: RouteTestView): string {
  const rows = view.routes.map(({ name, matches, fails }) => [name, matches ? (name === view.route ? 'takes it' : 'would take it') : `no: ${fails.join(', ')}`])
  return `${rows.length === 0 ? '' : table(terminal, ['ROUTE', ''], rows)}${printable(outcome(view))}\n`
}

function outcome(view: RouteTestView): string {
  if (view.outcome === 'malformed') return '400: this is no request.'
  if (view.outcome === 'refused') return '400: the path can be read in two ways (normalizePath).'
  if (view.outcome === 'none') return '404: no route takes it, and the listener has no pool.'
  const who = view.outcome === 'route' ? `Route ${view.route}` : 'The listener'
  if (view.action === 'redirect') return `${who} redirects with ${view.status} to ${view.location}`
  if (view.action !== 'pools') return `${who} answers with ${view.status}.`
  const all = view.pools.reduce((sum, { weight }) => sum + weight, 0)
  const pools = view.pools.map(({ pool, weight }) => (view.pools.length === 1 ? pool : `${pool} (${Math.round((weight / all) * 1000) / 10} %)`))
  return `${who} sends it to pool ${pools.join(' or ')} as ${view.target} of ${view.memberHost}`
}
