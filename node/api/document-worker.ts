/** The thread that reads one large YAML document for `document.ts`, and ends. */
import { parentPort, workerData } from 'node:worker_threads'
import { parseYaml } from '../config/yaml.ts'

parentPort?.postMessage(parseYaml(String(workerData)))
