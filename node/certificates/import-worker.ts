/** The thread of `import.ts`: reads one input and says what it found. */
import { parentPort, workerData } from 'node:worker_threads'
import { readCertificate, type ReadInput } from './read.ts'

parentPort!.postMessage(await readCertificate(workerData as ReadInput))
