/**
 * After `npm install`: takes out of package-lock.json the optional packages for other platforms that it names but has no
 * entry for. `npm ci` refuses such a lockfile where those packages cannot be looked up, and Haechi runs on Linux only.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

interface LockedPackage {
  optionalDependencies?: Record<string, string>
}

const file = fileURLToPath(new URL('../../package-lock.json', import.meta.url))

/** Names without an entry, by the package that asks for them. */
export function danglingOptionals(packages: Readonly<Record<string, LockedPackage>>): [string, string][] {
  return Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter((name) => !(`node_modules/${name}` in packages) && !(`${path}/node_modules/${name}` in packages))
      .map((name): [string, string] => [path, name]),
  )
}

if (import.meta.main) {
  const lock = JSON.parse(readFileSync(file, 'utf8')) as { packages: Record<string, LockedPackage> }
  const dangling = danglingOptionals(lock.packages)
  for (const [path, name] of dangling) delete lock.packages[path]!.optionalDependencies![name]
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`)
  console.log(`${dangling.length} names taken out`)
}
