/** The reference of the configuration document as Markdown, made from the schema, so that it cannot say anything else. */
import type { SchemaNode } from './complete.ts'
import { formatDuration } from './duration.ts'
import { ConfigurationDocument, documentLimits, durationLimits, durationPattern, namePattern, patternText } from './schema.ts'
import { validateDocument } from './validate.ts'
import { toYaml } from './yaml.ts'

/** A document that shows every kind of object; the test of this file checks that it is valid. */
export const exampleYaml = `haechi: 1
vips:
  - name: main
    address: 192.0.2.100
    prefixLength: 24
pools:
  - name: web
    balance: least-connections
    members:
      - name: web-1
        address: 192.0.2.11
        port: 8080
      - name: web-2
        address: 192.0.2.12
        port: 8080
        weight: 2
    healthCheck:
      type: http
      path: /healthz
      expectStatus: 200-299
  - name: api
    members:
      - name: api-1
        address: 192.0.2.21
        port: 9000
  - name: database
    members:
      - name: db-1
        address: 192.0.2.31
        port: 5432
listeners:
  - name: front
    vip: main
    port: 80
    routes:
      - name: api
        hosts:
          - api.example.com
        pool: api
      - name: downloads
        paths:
          - /downloads
        pool: api
    pool: web
  - name: database
    vip: main
    port: 5432
    protocol: tcp
    pool: database
failover:
  preferredNode: node1
`

/** In the order in which they appear. */
const sections: readonly { readonly title: string; readonly path: readonly string[]; readonly where: string }[] = [
  { title: 'The document', path: [], where: 'The top of the file.' },
  { title: 'VIPs', path: ['vips'], where: 'Entries of `vips`.' },
  { title: 'Pools', path: ['pools'], where: 'Entries of `pools`.' },
  { title: 'Members', path: ['pools', 'members'], where: 'Entries of `members` of a pool.' },
  { title: 'Health checks', path: ['pools', 'healthCheck'], where: '`healthCheck` of a pool.' },
  { title: 'Headers of health checks', path: ['pools', 'healthCheck', 'headers'], where: 'Entries of `headers` of a health check.' },
  { title: 'Passive health', path: ['pools', 'passiveHealth'], where: '`passiveHealth` of a pool.' },
  { title: 'Circuit breakers', path: ['pools', 'circuitBreaker'], where: '`circuitBreaker` of a pool.' },
  { title: 'Maintenance', path: ['pools', 'maintenance'], where: '`maintenance` of a pool.' },
  { title: 'Listeners', path: ['listeners'], where: 'Entries of `listeners`.' },
  { title: 'Routes', path: ['listeners', 'routes'], where: 'Entries of `routes` of a listener.' },
  { title: 'Failover', path: ['failover'], where: '`failover`, at the top of the file.' },
]

/** The whole file. */
export function referenceMarkdown(): string {
  const out = [
    '<!-- Made from the schema by node/config/reference-cli.ts; do not edit. -->',
    '# Configuration reference',
    '',
    'One document holds the whole configuration of a cluster. It is written as YAML (or JSON), applied with',
    '`haechi config apply FILE`, the console or the API, and kept in revisions. `haechi config check FILE` checks a file',
    'without a cluster and names line and field of every fault.',
    '',
    'Every field with a default may be left out. Unknown fields, duplicate keys and wrong types are errors. Durations are a',
    'whole number and a unit: `250ms`, `5s`, `1m`, `1h`. Addresses are stored in their one canonical spelling',
    '(`2001:DB8::0001` becomes `2001:db8::1`), host names in lower case.',
    '',
    '## Example',
    '',
    '```yaml',
    exampleYaml.trimEnd(),
    '```',
    '',
  ]
  for (const { title, path, where } of sections) {
    out.push(...section(`## ${title}`, where, nodeAt(path)))
    for (const inner of innerObjects(path)) out.push(...section(`### \`${inner.at(-1)}\``, `\`${pathText(inner)}\`.`, nodeAt(inner)))
  }
  out.push(...rules())
  return `${out.join('\n')}\n`
}

/** The objects inside this one that have no section of their own, outermost first. */
function innerObjects(path: readonly string[]): (readonly string[])[] {
  return Object.entries(nodeAt(path).properties!).flatMap(([key, child]) => {
    const inner = [...path, key]
    const own = sections.some((section) => section.path.join('/') === inner.join('/'))
    return own || (child.items ?? child).properties === undefined ? [] : [inner, ...innerObjects(inner)]
  })
}

/** `pools[].hash`. */
function pathText(path: readonly string[]): string {
  return path.map((key, at) => (nodeAt(path.slice(0, at + 1)) === nodeAt(path.slice(0, at)).properties![key] ? key : `${key}[]`)).join('.')
}

function nodeAt(path: readonly string[]): SchemaNode {
  let node = ConfigurationDocument as unknown as SchemaNode
  for (const key of path) {
    const child = node.properties![key]!
    node = child.items ?? child
  }
  return node
}

function section(title: string, where: string, node: SchemaNode): string[] {
  const required = new Set(node.required ?? [])
  const rows = Object.entries(node.properties!).map(([key, child]) => {
    const must = required.has(key) && child.default === undefined
    return `| \`${key}\` | ${typeText(child, key)} | ${must ? '**required**' : defaultText(child)} | ${escaped(child.description ?? '')} |`
  })
  const description = node.description === undefined ? '' : ` ${node.description}`
  return [title, '', `${where}${description}`, '', '| field | type | default | meaning |', '|---|---|---|---|', ...rows, '']
}

function typeText(node: SchemaNode, key: string): string {
  if (node.anyOf !== undefined) return node.anyOf.map((choice) => `\`${String(choice.const)}\``).join(' or ')
  if (node.const !== undefined) return `\`${String(node.const)}\``
  if (node.format === 'ip-address') return 'IP address'
  if (node.pattern === namePattern) return 'name'
  if (node.pattern === durationPattern) {
    const { minimumMs, maximumMs } = durationLimits[key]!
    return `duration, ${formatDuration(minimumMs)} to ${formatDuration(maximumMs)}`
  }
  switch (node.type) {
    case 'integer':
      return `whole number, ${node.minimum} to ${node.maximum}`
    case 'array': {
      const item = itemText(node.items!, key)
      return `list of ${item}, at most ${node.maxItems}`
    }
    case 'object':
      return 'object'
    case 'boolean':
      return '`true` or `false`'
    default:
      return stringText(node)
  }
}

function itemText(node: SchemaNode, key: string): string {
  if (node.type === 'object') return key
  if (node.anyOf !== undefined) return typeText(node, key)
  return node.type === 'integer' ? `${typeText(node, key).replace('number', 'numbers')}` : `texts (${stringText(node)})`
}

function stringText(node: SchemaNode): string {
  const words = node.pattern === undefined ? 'text' : escaped(patternText[node.pattern]!)
  return node.maxLength === undefined || words.includes(String(node.maxLength)) ? words : `${words}, at most ${node.maxLength} characters`
}

function defaultText(node: SchemaNode): string {
  if (node.default === undefined) return '–'
  if (node.default === '') return 'empty'
  if (Array.isArray(node.default) && node.default.length === 0) return 'none'
  if (Array.isArray(node.default)) return node.default.map((item) => `\`${String(item)}\``).join(', ')
  if (typeof node.default === 'object') return 'all defaults'
  return `\`${String(node.default)}\``
}

/** A vertical line would end the cell, `*.` begin emphasis. */
function escaped(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll(/(?<!`)\*\./g, '\\*.')
}

function rules(): string[] {
  return [
    '## Rules beyond the fields',
    '',
    '- Names are unique: among VIPs, pools and listeners, among the members of a pool and the routes of a listener.',
    '- `vip` and `pool` name objects that exist. `preferredNode` need not: nodes come and go by themselves. A preferred node that is',
    '  no member, or a witness, has no effect, and the leader reports itself degraded.',
    '- A listener has either `vip` or `address`. The address of a VIP is written as `vip`, so that only its holder answers.',
    '- No two listeners take the same port of the same address. `0.0.0.0` takes a port of every IPv4 address, `::` of every',
    '  address.',
    '- `routes` are for http; a tcp listener needs a pool. An http listener without `pool` answers 404 when no route matches.',
    '- No two VIPs, and no two members of a pool, have the same address (and port).',
    '- A member is not the listener that leads to it, directly or through other listeners.',
    `- At most ${documentLimits.members} members in all pools together and ${documentLimits.routes} routes on all listeners together;`,
    `  at most ${documentLimits.yamlBytes / 1048576} MiB of YAML and ${documentLimits.bytes / 1048576} MiB of JSON with all defaults.`,
    '',
    '## All fields with their defaults',
    '',
    '```yaml',
    completeExample().trimEnd(),
    '```',
  ]
}

function completeExample(): string {
  const first = validateDocument({
    vips: [{ name: 'main', address: '192.0.2.100' }],
    pools: [{ name: 'web', members: [{ name: 'web-1', address: '192.0.2.11', port: 8080 }] }],
    listeners: [{ name: 'front', vip: 'main', port: 80, routes: [{ name: 'all', pool: 'web' }] }],
    failover: { preferredNode: 'node1' },
  })
  if (!first.ok) throw new Error(`the example is not valid: ${first.problems[0]!.message}`)
  return toYaml(first.document)
}
