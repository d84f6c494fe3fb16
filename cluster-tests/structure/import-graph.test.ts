/** The import rules of the architecture, read from the real import graph. */
import test from 'ava'
import { cruise, type ICruiseResult, type IFlattenedRuleSet } from 'dependency-cruiser'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))

const rules: IFlattenedRuleSet = {
  forbidden: [
    { name: 'consensus imports neither vip nor node', severity: 'error', from: { path: '^consensus/' }, to: { path: '^(vip|node|webui|cluster-tests)/' } },
    { name: 'vip imports neither consensus nor node', severity: 'error', from: { path: '^vip/' }, to: { path: '^(consensus|node|webui|cluster-tests)/' } },
    {
      name: 'node/proxy imports config, health, sessions and observe only',
      severity: 'error',
      from: { path: '^node/proxy/' },
      to: { path: '^(node|consensus|vip|webui|cluster-tests)/', pathNot: '^node/(proxy|config|health|sessions|observe)/' },
    },
    { name: 'the console imports from node/api only', severity: 'error', from: { path: '^webui/' }, to: { path: '^(node|consensus|vip|cluster-tests)/', pathNot: '^node/api/' } },
    {
      name: 'the console imports types only',
      severity: 'error',
      from: { path: '^webui/' },
      to: { path: '^node/api/', dependencyTypesNot: ['type-only'] },
    },
    { name: 'the product does not import its tests or labs', severity: 'error', from: { path: '^(consensus|vip|node|webui)/', pathNot: '\\.test\\.tsx?$|/scenarios/' }, to: { path: '^cluster-tests/|/scenarios/|/fixture/|\\.test\\.ts$', pathNot: '^webui/fixture/' } },
    { name: 'no circles between files', severity: 'error', from: {}, to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } } },
  ],
}

async function graph(): Promise<ICruiseResult> {
  const result = await cruise(
    ['consensus', 'vip', 'node', 'webui', 'cluster-tests'],
    {
      baseDir: root,
      ruleSet: rules,
      validate: true,
      tsPreCompilationDeps: 'specify',
      doNotFollow: { path: 'node_modules' },
      exclude: { path: '(^|/)(node_modules|dist)/' },
    },
    { extensions: ['.ts', '.tsx', '.js', '.cjs'] },
  )
  if (typeof result.output === 'string') throw new Error(result.output)
  return result.output
}

test('the import graph keeps the rules', async (t) => {
  const { summary, modules } = await graph()
  const broken = summary.violations.map((violation) => `${violation.rule.name}: ${violation.from} → ${violation.to}`)
  t.deepEqual(broken, [])
  // A graph that was not read would break no rule either.
  const edges = modules.flatMap((module) => module.dependencies.map((dependency) => `${module.source} → ${dependency.resolved}`))
  t.true(edges.includes('node/heart.ts → consensus/open.ts'))
  t.true(edges.includes('node/main.ts → node/link.ts'))
  t.true(edges.some((edge) => edge.startsWith('webui/') && edge.endsWith('node/api/types.ts')))
})
