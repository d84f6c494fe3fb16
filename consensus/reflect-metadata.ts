/**
 * The few functions of the Reflect metadata proposal that the certificate library's dependency injection asks for when it
 * is loaded. It must be imported before the library; it does nothing when the runtime has them already.
 */
type Key = string | symbol
interface MetadataReflect {
  getMetadata?: (key: Key, target: object) => unknown
  getOwnMetadata?: (key: Key, target: object) => unknown
  hasMetadata?: (key: Key, target: object) => boolean
  hasOwnMetadata?: (key: Key, target: object) => boolean
  defineMetadata?: (key: Key, value: unknown, target: object) => void
}

const reflect = Reflect as MetadataReflect

if (reflect.getMetadata === undefined) {
  const stored = new WeakMap<object, Map<Key, unknown>>()
  const own = (key: Key, target: object): unknown => stored.get(target)?.get(key)
  const inherited = (key: Key, target: object): unknown => {
    for (let at: object | null = target; at !== null; at = Object.getPrototypeOf(at) as object | null) {
      if (stored.get(at)?.has(key) === true) return own(key, at)
    }
    return undefined
  }
  reflect.getOwnMetadata = own
  reflect.getMetadata = inherited
  reflect.hasOwnMetadata = (key, target) => stored.get(target)?.has(key) === true
  reflect.hasMetadata = (key, target) => inherited(key, target) !== undefined
  reflect.defineMetadata = (key, value, target) => {
    const map = stored.get(target) ?? new Map<Key, unknown>()
    map.set(key, value)
    stored.set(target, map)
  }
}
