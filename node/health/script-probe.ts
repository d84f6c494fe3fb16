/**
 * Programs as checks: `<checks directory>/NAME ADDRESS PORT`, exit code 0 is healthy. Only names, never paths, and no shell. A
 * program that takes too long is killed with all that it has started (its process group). Few run at once: each is a process.
 */
import { spawn } from 'node:child_process'
import { statSync } from 'node:fs'
import { join } from 'node:path'
import type { Attempt, ProbeTarget } from './probes.ts'

const atOnce = 8

const namePattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/

export class ScriptProbes {
  readonly #directory: string | undefined
  #running = 0
  readonly #waiting = new Set<(place: boolean) => void>()

  constructor(directory: string | undefined) {
    this.#directory = directory
  }

  /** Waits for a place. @returns what gives it back; undefined when `signal` came first */
  async turn(signal: AbortSignal): Promise<(() => void) | undefined> {
    if (signal.aborted) return undefined
    if (this.#running < atOnce) this.#running++
    else {
      const given = await new Promise<boolean>((resolve) => {
        const end = (place: boolean): void => {
          this.#waiting.delete(end)
          signal.removeEventListener('abort', abort)
          resolve(place)
        }
        const abort = (): void => end(false)
        this.#waiting.add(end)
        signal.addEventListener('abort', abort, { once: true })
      })
      if (!given) return undefined
    }
    return () => {
      // The place goes over to the one that has waited longest.
      for (const next of this.#waiting) return next(true)
      this.#running--
    }
  }

  /** Gives back what ends it. */
  run(target: ProbeTarget, one: Attempt): () => void {
    const { script = '' } = target
    const fault = this.#fault(script)
    if (fault !== '') {
      one.end(false, fault)
      return () => undefined
    }
    const directory = this.#directory!
    const child = spawn(join(directory, script), [target.address, String(target.port)], {
      cwd: directory,
      stdio: 'ignore',
      shell: false,
      // A process group of its own, so that what it has started ends with it.
      detached: true,
      // Nothing of this process's environment, which may hold secrets.
      env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' },
    })
    let over = false
    const timer = setTimeout(() => one.end(false, `did not end within ${target.timeoutMs} ms`), target.timeoutMs)
    child.on('error', (error: NodeJS.ErrnoException) => {
      over = true
      one.end(false, `${script} cannot be run: ${error.code ?? error.message.slice(0, 100)}`)
    })
    child.on('exit', (code, signal) => {
      over = true
      // What it has left behind in its group; nothing else can have its number as long as that is there.
      kill(child.pid!)
      one.end(code === 0, `${signal === null ? `exit code ${code}` : `ended by ${signal}`} ${one.took()}`)
    })
    return () => {
      clearTimeout(timer)
      // Before it has been waited for its id cannot belong to another.
      if (!over && child.pid !== undefined) kill(child.pid)
    }
  }

  /** Why a program is not run, or empty. */
  #fault(script: string): string {
    if (this.#directory === undefined) return 'there is no checks directory'
    if (!namePattern.test(script)) return 'not the name of a program'
    try {
      const found = statSync(join(this.#directory, script))
      if (!found.isFile()) return `${script} is not a program`
      // Whoever may write it could run anything as this node.
      if ((found.mode & 0o022) !== 0) return `${script} may be written by others than its owner`
      return ''
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      return code === 'ENOENT' ? `there is no program ${script} in the checks directory` : `${script}: ${code ?? 'cannot be read'}`
    }
  }
}

function kill(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // It has just ended by itself.
  }
}
